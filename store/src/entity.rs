//! The rows. One set of entities for both databases; converted at the edge of this crate.
//!
//! Times are milliseconds since the Unix epoch, JSON is text, states are their names.

#![allow(unreachable_pub, reason = "sea-orm's derives write `pub`")]

/// One module per table with `Model`, `Entity`, `Column`, as sea-orm wants it.
macro_rules! entities {
    ($($module:ident = $table:tt { $($(#[$meta:meta])* $field:ident: $type:ty,)+ })+) => {$(
        pub(crate) mod $module {
            #[allow(unused_imports, reason = "not every table has an id")]
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
            #[sea_orm(table_name = $table)]
            pub struct Model {
                $($(#[$meta])* pub $field: $type,)+
            }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {}

            impl ActiveModelBehavior for ActiveModel {}
        }
    )+};
}

entities! {
    tenant = "tenants" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        name: String,
        data_key: Vec<u8>,
        created: i64,
    }

    user = "users" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        tenant: Uuid,
        username: String,
        password: String,
        is_superuser: bool,
        active: bool,
        created: i64,
        last_login: Option<i64>,
    }

    session = "sessions" {
        #[sea_orm(primary_key, auto_increment = false)]
        hash: Vec<u8>,
        user_id: Uuid,
        created: i64,
        expires: i64,
        revoked: Option<i64>,
    }

    api_key = "api_keys" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        tenant: Uuid,
        user_id: Uuid,
        prefix: String,
        hash: Vec<u8>,
        name: String,
        scopes: String,
        created: i64,
        expires: Option<i64>,
        revoked: Option<i64>,
        last_used: Option<i64>,
        runs_max: Option<i64>,
    }

    setting = "settings" {
        #[sea_orm(primary_key, auto_increment = false)]
        name: String,
        value: Vec<u8>,
        created: i64,
    }

    project = "projects" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        tenant: Uuid,
        name: String,
        description: Option<String>,
        created: i64,
    }

    flow = "flows" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        tenant: Uuid,
        project: Uuid,
        owner: Option<Uuid>,
        name: String,
        endpoint_name: Option<String>,
        description: Option<String>,
        icon: Option<String>,
        tags: String,
        data: String,
        export: String,
        current_version: Option<Uuid>,
        requirements: Option<String>,
        created: i64,
        updated: i64,
    }

    flow_version = "flow_versions" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        tenant: Uuid,
        flow: Uuid,
        sha256: Vec<u8>,
        data: String,
        plan: String,
        needs: Option<String>,
        created: i64,
    }

    runtime_build = "runtime_builds" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        image: String,
        state: String,
        detail: String,
        lock: Option<String>,
        created: i64,
        updated: i64,
    }

    variable = "variables" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        tenant: Uuid,
        name: String,
        kind: String,
        sealed: Vec<u8>,
        default_fields: String,
        created: i64,
        updated: i64,
    }

    message = "messages" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        tenant: Uuid,
        flow: Uuid,
        session_id: String,
        run: Option<Uuid>,
        sender: String,
        sender_name: String,
        said: i64,
        arrival: Uuid,
        data: String,
        task: Option<i64>,
    }

    egress_rule = "egress_rules" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        tenant: Uuid,
        flow: Option<Uuid>,
        host: String,
        port: i64,
        private: bool,
        created: i64,
        node: Option<String>,
        tcp: bool,
    }

    tenant_limits = "tenant_limits" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant: Uuid,
        limits: String,
        maximum: String,
        updated: i64,
        admission: Option<String>,
    }

    tenant_retention = "tenant_retention" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant: Uuid,
        runs_days: Option<i64>,
        messages: Option<bool>,
        updated: i64,
    }

    flow_limits = "flow_limits" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        flow: Uuid,
        limits: String,
        updated: i64,
        admission: Option<String>,
    }

    file = "files" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        tenant: Uuid,
        namespace: Uuid,
        flow: Option<Uuid>,
        path_name: String,
        name: String,
        listed: bool,
        content: Uuid,
        length: i64,
        created: i64,
        updated: i64,
    }

    file_chunk = "file_chunks" {
        #[sea_orm(primary_key, auto_increment = false)]
        file: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        content: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        position: i64,
        bytes: Vec<u8>,
    }

    payload = "payloads" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        sha256: Vec<u8>,
        length: i64,
        created: i64,
        touched: Option<i64>,
        object: Option<Uuid>,
    }

    payload_chunk = "payload_chunks" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        sha256: Vec<u8>,
        #[sea_orm(primary_key, auto_increment = false)]
        position: i64,
        bytes: Vec<u8>,
    }

    loose_object = "loose_objects" {
        #[sea_orm(primary_key, auto_increment = false)]
        object: Uuid,
        tenant: Uuid,
        sha256: Vec<u8>,
        since: i64,
        doomed: bool,
    }

    live_output = "live_outputs" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        code: String,
        #[sea_orm(primary_key, auto_increment = false)]
        output: String,
        value_type: String,
        created: i64,
    }

    run = "runs" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        tenant: Uuid,
        flow: Uuid,
        flow_name: String,
        flow_version: Uuid,
        state: String,
        version: i64,
        request: String,
        fingerprint: Vec<u8>,
        session_id: String,
        deadline: i64,
        suspended: Option<i64>,
        retry: String,
        limits: String,
        isolation: String,
        idempotency_key: Option<String>,
        submitted_by: Option<Uuid>,
        created: i64,
        started: Option<i64>,
        ended: Option<i64>,
        failure: Option<String>,
        operations: Option<String>,
        context: Option<String>,
        plan: Option<String>,
        event_log: Option<Vec<u8>>,
        parent_run: Option<Uuid>,
        parent_task: Option<i64>,
        parent_attempt: Option<i64>,
        parent_call: Option<String>,
        depth: Option<i64>,
        pool: String,
        priority: i64,
        not_before: Option<i64>,
        api_key: Option<Uuid>,
        concurrency_key: Option<String>,
        concurrency_max: Option<i64>,
        rerun_of: Option<Uuid>,
        detached: bool,
        settled: Option<i64>,
    }

    task = "tasks" {
        #[sea_orm(primary_key, auto_increment = false)]
        run: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        position: i64,
        cell: String,
        state: String,
        depends_on: String,
        attempt: i64,
        pauses: i64,
        dispatches: i64,
        dispatched: Option<i64>,
        not_before: Option<i64>,
        lease_worker: Option<Uuid>,
        lease_since: Option<i64>,
        failure: Option<String>,
        queue: Option<String>,
        tenant: Option<Uuid>,
        priority: i64,
        ready_since: Option<i64>,
        pool: Option<String>,
        retry: Option<String>,
    }

    attempt = "attempts" {
        #[sea_orm(primary_key, auto_increment = false)]
        run: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        task: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        attempt: i64,
        worker: Uuid,
        container: Option<String>,
        leased: i64,
        began: Option<i64>,
        ended: Option<i64>,
        outcome: Option<String>,
        failure: Option<String>,
        figures: Option<String>,
    }

    connection = "connections" {
        #[sea_orm(primary_key, auto_increment = false)]
        run: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        task: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        attempt: i64,
        revision: i64,
        log: String,
    }

    result = "results" {
        #[sea_orm(primary_key, auto_increment = false)]
        run: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        task: i64,
        tenant: Uuid,
        inline: Option<String>,
        payload: Option<Vec<u8>>,
        usage: Option<String>,
        created: i64,
    }

    human_request = "human_requests" {
        #[sea_orm(primary_key, auto_increment = false)]
        run: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        request_id: String,
        tenant: Uuid,
        task: i64,
        attempt: i64,
        node: String,
        request: String,
        saved: Option<Vec<u8>>,
        card: Uuid,
        asked: i64,
        decision: Option<String>,
        decided: Option<i64>,
    }

    knowledge_base = "knowledge_bases" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        tenant: Uuid,
        user_id: Uuid,
        name: String,
        configuration: String,
        figures: String,
        created: i64,
        updated: i64,
    }

    knowledge_segment = "knowledge_segments" {
        #[sea_orm(primary_key, auto_increment = false)]
        base: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        position: i64,
        run: Uuid,
        task: i64,
        attempt: i64,
        nth: i64,
        length: i64,
        chunks: String,
    }

    frozen_result = "frozen_results" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        flow: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        owner: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        node: String,
        hash: String,
        result: String,
        created: i64,
    }

    outbox = "outbox" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        queue: String,
        message_id: String,
        body: Vec<u8>,
        created: i64,
        published: Option<i64>,
    }

    sweep = "sweeps" {
        #[sea_orm(primary_key, auto_increment = false)]
        name: String,
        holder: Uuid,
        until: i64,
    }

    worker = "workers" {
        #[sea_orm(primary_key, auto_increment = false)]
        epoch: Uuid,
        name: String,
        slots: i64,
        lease_until: i64,
        last_seen: i64,
        gone: bool,
        pool: Option<String>,
    }

    queue = "queues" {
        #[sea_orm(primary_key, auto_increment = false)]
        name: String,
        round: i64,
        present: i64,
    }

    queue_share = "queue_shares" {
        #[sea_orm(primary_key, auto_increment = false)]
        queue: String,
        #[sea_orm(primary_key, auto_increment = false)]
        tenant: Uuid,
        virtual_time: i64,
    }

    run_rate = "run_rates" {
        #[sea_orm(primary_key, auto_increment = false)]
        tenant: Uuid,
        due: i64,
    }
}
