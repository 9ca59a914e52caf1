//! What ended runs cost those that follow: lists, new runs and every statement of the cluster, first
//! on a database that is almost empty, then beside millions of ended runs, then while old ones are
//! removed.
//!
//! Times depend on what else the machine does. The pages that a statement touches do not, so
//! Postgres counts those too (`statements`).

mod asks;
mod past;
mod removal;
mod statements;
mod table;

use std::time::Duration;

use anyhow::{Context as _, Result};
use drill::Cast;
use sea_orm::{ConnectOptions, Database, DatabaseConnection};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::asks::{Answered, Asks};
use self::past::{Filled, Place};
use self::removal::Removal;
use self::statements::Statement;
use super::hollow::Work;
use super::report::Step;
use super::runs::CELLS;
use super::scene::{Scene, Tenant};
use crate::load::{self, Bound, Pace};

const SLOTS: u32 = 64;
const CALLERS: [usize; 2] = [1, 8];

/// How often schedulers look for runs to remove: at once, as far as this measurement is concerned.
const RETENTION_EVERY_MS: u32 = 2_000;

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct History {
    /// The ended runs, and what they occupy.
    pub filled: Filled,
    /// Without them.
    pub before: Figures,
    /// With them.
    pub after: Figures,
    /// While some of them are removed.
    pub removal: Removal,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Lists and views, as the API answers them.
    pub asks: Vec<Answered>,
    /// Runs of a chain of cells that do nothing, by callers.
    pub runs: Vec<Step>,
    /// What the database was asked meanwhile, by whomever.
    pub statements: Vec<Statement>,
}

/// Whose ended runs there are, and of which flow.
struct Tenants {
    /// Most runs are of this flow.
    most: Tenant,
    /// Another flow of the same tenant.
    some: Tenant,
    /// One of which few runs are, none of them failed.
    rare: Tenant,
    /// Other tenants.
    others: [Tenant; 2],
}

struct Stand<'a> {
    scene: Scene,
    database: DatabaseConnection,
    tenants: Tenants,
    lasts: Duration,
    stop: &'a CancellationToken,
}

pub(super) async fn measure(
    cast: &Cast,
    runs: u64,
    lasts: Duration,
    stop: &CancellationToken,
) -> Result<History> {
    let mut cast = cast.clone();
    cast.postgres_settings = statements::postgres_settings();
    let every = ("FLOWCELL_CONFIG__RETENTION__EVERY_MS".to_owned(), RETENTION_EVERY_MS.to_string());
    cast.environment.push(every);
    let scene = Scene::start(&cast, CELLS).await?;
    let worker = scene.worker("hollow", SLOTS, Work::Nothing).await?;
    let tenants = Tenants::of(&scene).await?;
    let database = connect(&scene.stage.database_url()).await?;
    let stand = Stand { scene, database, tenants, lasts, stop };
    statements::prepare(&stand.database).await?;
    stand.new_runs(1).await?;
    let models = past::models(&stand.database, &stand.tenants).await?;
    let before = stand.figures(&models.newest).await?;
    let filled = past::fill(&stand.database, &models, runs).await?;
    let after = stand.figures(&filled.middle).await?;
    let removal = removal::measure(&stand, &filled.middle).await?;
    drop(worker);
    stand.database.close().await?;
    stand.scene.stage.stop().await?;
    Ok(History { filled, before, after, removal })
}

async fn connect(url: &str) -> Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(4).sqlx_logging(false);
    Database::connect(options).await.context("connecting to Postgres")
}

impl Tenants {
    async fn of(scene: &Scene) -> Result<Self> {
        let api = *scene.stage.apis().first().context("there is no API")?;
        let mine = scene.stage.api_key();
        let others = [scene.stage.add_tenant("second")?, scene.stage.add_tenant("third")?];
        Ok(Self {
            most: Tenant::with(api, mine, 1).await?,
            some: Tenant::with(api, mine, 1).await?,
            rare: Tenant::with(api, mine, 1).await?,
            others: [
                Tenant::with(api, &others[0], 1).await?,
                Tenant::with(api, &others[1], 1).await?,
            ],
        })
    }
}

impl Stand<'_> {
    /// Everything, with this run to look at.
    async fn figures(&self, at: &Place) -> Result<Figures> {
        eprintln!("lists and new runs …");
        let asks = Asks::new(&self.tenants, at)?;
        asks.warm().await?;
        self.new_runs(1).await?;
        statements::forget(&self.database).await?;
        let answered = asks.measure().await?;
        let mut runs = Vec::new();
        for callers in CALLERS {
            runs.push(self.new_runs(callers).await?);
        }
        let statements = statements::seen(&self.database).await?;
        Ok(Figures { asks: answered, runs, statements })
    }

    async fn new_runs(&self, callers: usize) -> Result<Step> {
        self.scene.seen.hops.take();
        self.scene.seen.forget();
        let bound = Bound { runs: None, duration: Some(self.lasts) };
        let config = self.scene.mine.load(Pace::Closed { concurrency: callers }, bound, false)?;
        let report = load::measure(&config, self.stop).await?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let step = Step::of(callers as f64, &report, self.scene.seen.hops.take());
        step.context("nothing was measured")
    }
}
