//! Limits that are set for a tenant and for a flow.

use domain::admission::{FlowSettings, TenantSettings};
use domain::id::FlowId;
use domain::limits::{CellLimits, Overrides, Setting, TenantLimits};
use domain::run::Command;
use store::RunSettings;
use uuid::Uuid;

use crate::fixture::{Fixture, T0, assert_not_found};

on_both! {
    what_is_set_holds_until_it_is_set_again,
    limits_go_with_their_flow,
    a_run_keeps_the_limits_it_was_accepted_with,
    limits_of_another_program_are_passed_over,
}

fn set(values: &[(Setting, u64)]) -> Overrides {
    values.iter().copied().collect()
}

async fn what_is_set_holds_until_it_is_set_again(f: &Fixture) {
    let (a, b) = (f.owner("a").await, f.owner("b").await);
    let tenant = &a.tenant;
    assert_eq!(tenant.limits().await.unwrap(), TenantLimits::default());
    assert_eq!(tenant.flow_limits(a.flow).await.unwrap(), Overrides::default());
    let first = TenantLimits {
        limits: set(&[(Setting::Pids, 9), (Setting::MemoryBytes, u64::MAX >> 1)]),
        maximum: set(&[(Setting::CpuMs, 1)]),
    };
    tenant.set_limits(&first).await.unwrap();
    let of_flow = set(&[(Setting::TokensMax, 0)]);
    tenant.set_flow_limits(a.flow, &of_flow).await.unwrap();
    assert_eq!(tenant.limits_for(a.flow).await.unwrap(), (first.clone(), of_flow.clone()));
    let own = FlowSettings { runs_max: Some(3), ..FlowSettings::default() };
    tenant.set_flow_admission(a.flow, &own).await.unwrap();
    let expected = RunSettings {
        tenant_limits: first.clone(),
        flow_limits: of_flow.clone(),
        tenant: TenantSettings::default(),
        flow: own,
    };
    assert_eq!(tenant.run_settings(a.flow).await.unwrap(), expected);
    let turns = TenantSettings { weight: Some(7), ..TenantSettings::default() };
    tenant.set_admission(&turns).await.unwrap();
    let settings = tenant.run_settings(a.flow).await.unwrap();
    assert_eq!(settings, RunSettings { tenant: turns, ..expected });
    assert_eq!(b.tenant.run_settings(b.flow).await.unwrap(), RunSettings::default());
    let other = tenant.limits_for(FlowId(Uuid::new_v4())).await.unwrap();
    assert_eq!(other, (first, Overrides::default()));
    let second = TenantLimits { limits: set(&[(Setting::WallMs, 5)]), ..TenantLimits::default() };
    tenant.set_limits(&second).await.unwrap();
    tenant.set_flow_limits(a.flow, &Overrides::default()).await.unwrap();
    assert_eq!(tenant.limits_for(a.flow).await.unwrap(), (second, Overrides::default()));
    let untouched = b.tenant.limits_for(b.flow).await.unwrap();
    assert_eq!(untouched, (TenantLimits::default(), Overrides::default()));
    assert_not_found(tenant.set_flow_limits(b.flow, &of_flow).await);
    assert_not_found(tenant.flow_limits(FlowId(Uuid::new_v4())).await);
    let nobody = f.store.tenant(domain::id::TenantId(Uuid::new_v4()));
    assert_not_found(nobody.set_limits(&TenantLimits::default()).await);
}

async fn limits_go_with_their_flow(f: &Fixture) {
    let owner = f.owner("a").await;
    owner.tenant.set_flow_limits(owner.flow, &set(&[(Setting::Pids, 9)])).await.unwrap();
    owner.tenant.delete_flow(owner.flow).await.unwrap();
    let (_, left) = owner.tenant.limits_for(owner.flow).await.unwrap();
    assert_eq!(left, Overrides::default());
}

async fn a_run_keeps_the_limits_it_was_accepted_with(f: &Fixture) {
    let owner = f.owner("a").await;
    let mut new = owner.new_run();
    new.limits = CellLimits { cpu_ms: 7, open_files: 100, ..CellLimits::default() };
    let limits = new.limits.clone();
    let run = owner.tenant.submit(new).await.unwrap().run;
    owner.tenant.set_flow_limits(owner.flow, &set(&[(Setting::CpuMs, 500)])).await.unwrap();
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    assert_eq!(f.load(run).await.limits, limits);
}

async fn limits_of_another_program_are_passed_over(f: &Fixture) {
    use sea_orm::ConnectionTrait;
    let owner = f.owner("a").await;
    owner.tenant.set_flow_limits(owner.flow, &set(&[(Setting::Pids, 9)])).await.unwrap();
    let connection = sea_orm::Database::connect(f.database.url()).await.unwrap();
    let sql = r#"UPDATE flow_limits SET limits = '{"pids":9,"gpus":1}'"#;
    connection.execute_unprepared(sql).await.unwrap();
    connection.close().await.unwrap();
    let found = owner.tenant.flow_limits(owner.flow).await.unwrap();
    assert_eq!(found, set(&[(Setting::Pids, 9)]));
}
