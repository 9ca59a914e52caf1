-- Five tenants with twenty flows each; the first tenant has the most runs.
INSERT INTO tenants SELECT md5('tenant' || t)::uuid, 'history ' || t, '\x00', 0
    FROM generate_series(0, 4) t;
INSERT INTO projects (id, tenant, name, created)
    SELECT md5('project' || t)::uuid, md5('tenant' || t)::uuid, 'p', 0 FROM generate_series(0, 4) t;
INSERT INTO flows (id, tenant, project, name, tags, data, export, created, updated)
    SELECT md5('flow' || t || '.' || f)::uuid, md5('tenant' || t)::uuid,
           md5('project' || t)::uuid, 'flow ' || f, '[]', '{}', '{}', 0, 0
    FROM generate_series(0, 4) t, generate_series(0, 19) f;
INSERT INTO flow_versions (id, tenant, flow, sha256, data, plan, created)
    SELECT md5('version' || t || '.' || f)::uuid, md5('tenant' || t)::uuid,
           md5('flow' || t || '.' || f)::uuid, '\x00', '{}', '{}', 0
    FROM generate_series(0, 4) t, generate_series(0, 19) f;
