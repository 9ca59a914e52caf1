-- Ended runs number {first} to {last}: one task each with an attempt and a result, and
-- an archived event log. One run in fifty did not complete; a session has twenty runs. The rows are
-- consistent, so the checks of foreign keys, which would take most of the time, are left out.
SET LOCAL session_replication_role = replica;
SET LOCAL synchronous_commit = off;
CREATE TEMPORARY TABLE made ON COMMIT DROP AS
    SELECT (lpad(to_hex(at), 12, '0') || '7' || substr(md5('run' || n), 14))::uuid AS id, n,
           CASE WHEN n % 5 = 4 THEN 1 + n / 5 % 4 ELSE 0 END AS t, n / 7 % 20 AS f, at,
           CASE WHEN n % 50 > 0 THEN 'completed' WHEN n % 100 > 0 THEN 'failed'
                WHEN n % 200 > 0 THEN 'cancelled' ELSE 'timed_out' END AS state,
           sha256(('log' || n)::bytea) AS log
    FROM (SELECT n, 1700000000000 + n * 1000 AS at
          FROM generate_series({first}::bigint, {last}::bigint) n) numbers;
INSERT INTO payloads (tenant, sha256, length, created)
    SELECT md5('tenant' || t)::uuid, log, 40, at FROM made;
INSERT INTO payload_chunks (tenant, sha256, position, bytes)
    SELECT md5('tenant' || t)::uuid, log, 0, convert_to(rpad(n::text, 40, 'event '), 'UTF8')
    FROM made;
INSERT INTO runs (id, tenant, flow, flow_name, flow_version, state, version, request, fingerprint,
                  session_id, deadline, retry, limits, isolation, created, started, ended,
                  event_log)
    SELECT id, md5('tenant' || t)::uuid, md5('flow' || t || '.' || f)::uuid, 'flow ' || f,
           md5('version' || t || '.' || f)::uuid, state, 9, '{"input_value":"hello ' || n || '"}',
           sha256('x'), 'session ' || n / 100, at + 600000, '{"attempts_max":3}', '{}',
           'component', at, at + 5, at + 900, log
    FROM made;
INSERT INTO tasks (run, position, cell, state, depends_on, attempt, dispatches, dispatched)
    SELECT id, p, 'Cell-' || p, 'done', '[]', 1, 1, at FROM made, generate_series(0, 0) p;
INSERT INTO attempts (run, task, attempt, worker, container, leased, began, ended, outcome)
    SELECT id, p, 1, md5('worker')::uuid, 'flowcell-0123456789ab', at, at + 2, at + 800, 'done'
    FROM made, generate_series(0, 0) p;
INSERT INTO results (run, task, tenant, inline, created)
    SELECT id, p, md5('tenant' || t)::uuid, '{"results":{"text":"answer ' || n || '"}}', at + 800
    FROM made, generate_series(0, 0) p;
