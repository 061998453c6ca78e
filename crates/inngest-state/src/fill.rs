//! Many rows at once, as they would be after weeks of use, to measure reads on: Postgres only, made by the database itself.
//!
//! Of a hundred runs so many belong to the default environment, the others to a second one. Functions are used unevenly, a few runs in a
//! hundred end badly, the newest ones have not ended, and a few have been asleep for long. Everything follows from the number of a run, so
//! the same filling makes the same rows, only at another time.

use std::time::Duration;

use inngest_core::{
    app::App,
    event::FUNCTION_FINISHED,
    ids::{AppId, DEFAULT_ENV, DEFAULT_ORG, EnvId, FunctionId, OrgId, SyncId},
    json::Json,
    rollup::{Sketch, Width},
    time::Timestamp,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement, TransactionTrait};
use uuid::Uuid;

use crate::{
    AppSync, Error, FunctionChange, Store,
    partitions::{self, Week},
    rollup,
    rows::first_id,
    write::get,
};

/// The second tenant of a filling.
pub const OTHER_ORG: OrgId = OrgId::from_raw(Uuid::from_u128(0xf111_0001));
/// Its environment.
pub const OTHER_ENV: EnvId = EnvId::from_raw(Uuid::from_u128(0xf111_0002));

/// Apps of an environment.
const APPS: usize = 5;
/// Functions of each of them.
const FUNCTIONS: usize = 10;
/// The slug of the function whose one run has a thousand steps.
pub const BIG_SLUG: &str = "fill0-big";
/// Steps of that run.
pub const BIG_STEPS: u32 = 1_000;
/// Runs whose rows are made by one statement.
const CHUNK: u64 = 50_000;

/// How much to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filling {
    /// Runs, each with its event and the event of its end.
    pub runs: u64,
    /// Steps of each run.
    pub steps_per_run: u32,
    /// Over how many days they are spread, up to now.
    pub days: u32,
    /// How many of a hundred runs belong to the default environment.
    pub share: u32,
}

/// What rows of the filling need to know.
struct Plan {
    filling: Filling,
    start: Timestamp,
    now: Timestamp,
    /// The functions of both environments, the default one's first.
    functions: Vec<(AppId, FunctionId)>,
}

impl Store {
    /// Fills an empty database, and brings its statistics up to date. `done` is told of runs as their rows are there, once for their steps and once for all
    /// others.
    ///
    /// # Errors
    /// The database's.
    ///
    /// # Panics
    /// When the database is not an empty one on Postgres.
    pub async fn fill(&self, filling: Filling, done: impl Fn(u64) + Sync) -> Result<(), Error> {
        let conn = self.writer();
        let is_postgres = conn.get_database_backend() == DbBackend::Postgres;
        let is_empty = self.last_event_at().await?.is_none();
        assert!(is_postgres && is_empty, "only an empty Postgres is filled");
        let now = self.now().await?;
        let start = now.minus(Duration::from_secs(86_400) * filling.days);
        begin_partitions(conn, start).await?;
        let mut at = start;
        while at <= now {
            self.make_partitions(at).await?;
            at = at.plus(partitions::WEEK);
        }
        self.make_partitions(now).await?;
        let plan = Plan {
            filling,
            start,
            now,
            functions: self.fill_functions(now).await?,
        };
        let main = async {
            for (from, to) in chunks(filling.runs) {
                for (table, sql) in plan.runs(from, to) {
                    execute(conn, table, &sql).await?;
                }
                done(to - from);
            }
            Ok::<(), Error>(())
        };
        let steps = async {
            for (from, to) in chunks(filling.runs) {
                execute(conn, "steps", &plan.steps(from, to)).await?;
                execute(conn, "steps", &plan.waits(from, to)).await?;
                done(to - from);
            }
            Ok::<(), Error>(())
        };
        tokio::try_join!(main, steps)?;
        for (table, sql) in plan.big_run() {
            execute(conn, table, &sql).await?;
        }
        for sql in plan.figures() {
            execute(conn, rollup::TABLE, &sql).await?;
        }
        for table in [
            rollup::TABLE,
            "events",
            "runs",
            "steps",
            "failed_attempts",
            "work",
            "waits",
        ] {
            execute(conn, table, &format!("VACUUM (ANALYZE) {table}")).await?;
        }
        Ok(())
    }

    /// Entries of indexes and rows of tables that were read in this database so far, by everybody; the database counts them some seconds late.
    ///
    /// # Errors
    /// The database's.
    pub async fn rows_read(&self) -> Result<i64, Error> {
        let sql = "SELECT ((SELECT sum(seq_tup_read) FROM pg_stat_user_tables) + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes))::bigint AS n";
        let statement = Statement::from_string(DbBackend::Postgres, sql);
        let row = self.reader().query_one_raw(statement).await;
        let row = row.map_err(Error::on("pg_stat_user_tables"))?;
        row.map_or(Ok(0), |row| get(&row, "pg_stat_user_tables", "n"))
    }

    /// Apps with functions in both environments.
    async fn fill_functions(&self, now: Timestamp) -> Result<Vec<(AppId, FunctionId)>, Error> {
        let mut all = Vec::new();
        for (org, env) in [(DEFAULT_ORG, DEFAULT_ENV), (OTHER_ORG, OTHER_ENV)] {
            self.ensure_environment(org, env, "fill", now).await?;
            let mut version = self.functions_version(env).await?;
            for place in 0..APPS {
                let name = format!("fill{place}");
                let app = AppId::derive(env, &name);
                let mut slugs: Vec<(String, usize)> = (0..FUNCTIONS)
                    .map(|of_app| place * FUNCTIONS + of_app)
                    .map(|number| (format!("{name}-f{number}"), number))
                    .collect();
                all.extend(
                    slugs
                        .iter()
                        .map(|(slug, _)| (app, FunctionId::derive(app, slug))),
                );
                if place == 0 {
                    slugs.push((BIG_SLUG.to_owned(), APPS * FUNCTIONS));
                }
                let sync = sync(org, env, app, &name, &slugs, version, now);
                self.save_sync(&sync).await?;
                version += 1;
            }
        }
        Ok(all)
    }
}

fn chunks(runs: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..runs.div_ceil(CHUNK)).map(move |chunk| (chunk * CHUNK, ((chunk + 1) * CHUNK).min(runs)))
}

async fn execute(conn: &DatabaseConnection, table: &'static str, sql: &str) -> Result<(), Error> {
    let done = conn.execute_unprepared(sql).await;
    done.map(drop).map_err(Error::on(table))
}

/// Lets the weeks begin at `start`: the first partitions, which are empty, make room.
async fn begin_partitions(conn: &DatabaseConnection, start: Timestamp) -> Result<(), Error> {
    let (bound, _) = Week::of(start).range();
    for table in partitions::ALL {
        let (name, first) = (table.table, format!("{}_first", table.table));
        let known = partitions::partitions(conn, table).await?;
        let is_late = known.iter().any(|it| it.name == first && it.to > bound);
        if !is_late {
            continue;
        }
        let tx = conn.begin().await.map_err(Error::on(name))?;
        tx.execute_unprepared(&format!(
            "ALTER TABLE {name} DETACH PARTITION {first}; \
             ALTER TABLE {name} ATTACH PARTITION {first} FOR VALUES FROM (MINVALUE) TO ('{bound}')"
        ))
        .await
        .map_err(Error::on(name))?;
        tx.commit().await.map_err(Error::on(name))?;
    }
    Ok(())
}

fn sync(
    org: OrgId,
    env: EnvId,
    app: AppId,
    name: &str,
    slugs: &[(String, usize)],
    expected_version: i64,
    now: Timestamp,
) -> AppSync {
    // Nothing listens there: nobody is called.
    let url = "http://127.0.0.1:9/api/inngest";
    let function = |(slug, number): &(String, usize)| {
        let config = format!(
            r#"{{"id":"{slug}","name":"{slug}","steps":{{"step":{{"id":"step","name":"step","runtime":{{"type":"http","url":"{url}?fnId={slug}&stepId=step"}}}}}},"triggers":[{{"event":"fill/e{number}"}}]}}"#
        );
        FunctionChange {
            id: FunctionId::derive(app, slug),
            slug: slug.clone(),
            name: slug.clone(),
            version: 1,
            config: Json::from_canonical(config.into_bytes().into()),
        }
    };
    AppSync {
        org,
        env,
        expected_version,
        record: None,
        app: App {
            id: app,
            name: name.to_owned(),
            url: url.to_owned(),
            version: None,
            sdk_language: "js".to_owned(),
            sdk_version: "4.0.0".to_owned(),
            framework: None,
            platform: None,
            checksum: "fill".to_owned(),
            failure: None,
            last_sync: SyncId::from_raw(app.raw()),
            created_at: now,
            synced_at: now,
            seen_at: now,
            archived_at: None,
        },
        functions: slugs.iter().map(function).collect(),
        archives: Vec::new(),
        function_count: slugs.len(),
        work: Vec::new(),
        now,
    }
}

/// The id of a row of this kind (a letter) whose run has the number `n` and was queued at `t`.
fn id(kind: char) -> String {
    format!("(lpad(to_hex(t), 12, '0') || substr(md5('{kind}' || n), 1, 20))::uuid")
}

impl Plan {
    /// What there is to know of the runs from `from` to before `to`, by their numbers.
    fn numbers(&self, from: u64, to: u64) -> String {
        let Filling { runs, share, .. } = self.filling;
        let span = self.now.since(self.start).as_millis();
        let start = self.start.as_millis();
        let (list, apps): (Vec<String>, Vec<String>) = self
            .functions
            .iter()
            .map(|(app, function)| (format!("'{function}'"), format!("'{app}'")))
            .unzip();
        let (all, newest) = (APPS * FUNCTIONS, (runs / 100).min(200));
        format!(
            "WITH numbers AS MATERIALIZED ( \
                SELECT n, {start} + n * {span} / {runs} AS t, ('x' || substr(md5('h' || n), 1, 7))::bit(28)::bigint AS h, \
                    n * 37 % 100 < {share} AS is_own FROM generate_series({from}::bigint, {to} - 1) AS n \
             ), placed AS ( \
                SELECT *, (h % 1000) * (h % 1000) * {all} / 1000000 AS f, CASE WHEN is_own THEN 0 ELSE {all} END AS base, \
                    CASE WHEN is_own THEN '{}' ELSE '{OTHER_ORG}' END::uuid AS org, CASE WHEN is_own THEN '{}' ELSE '{OTHER_ENV}' END::uuid AS env, \
                    CASE WHEN n >= {runs} - {newest} THEN 1 + n % 2 WHEN n % 5000 = 7 THEN 2 \
                         WHEN h / 1000 % 1000 < 12 THEN 4 WHEN h / 1000 % 1000 < 15 THEN 5 WHEN h / 1000 % 1000 < 17 THEN 6 ELSE 3 END AS status \
                FROM numbers \
             ), made AS ( \
                SELECT *, (ARRAY[{}]::uuid[])[(1 + base + f)::int] AS function, (ARRAY[{}]::uuid[])[(1 + base + f)::int] AS app, 200 + h % 3000 AS took, \
                    {} AS run, {} AS event FROM placed \
             ) ",
            DEFAULT_ORG,
            DEFAULT_ENV,
            list.join(","),
            apps.join(","),
            id('r'),
            id('e'),
        )
    }

    /// Events, runs, failures, work and waits.
    fn runs(&self, from: u64, to: u64) -> [(&'static str, String); 6] {
        let numbers = self.numbers(from, to);
        let tomorrow = self.now.plus(Duration::from_secs(86_400)).as_millis();
        let events = "INSERT INTO events (id, org_id, env_id, name, key, internal, late, ts, received_at, body, door)";
        [
            (
                "events",
                format!(
                    "{numbers} {events} SELECT event, org, env, 'fill/e' || f, 'order-' || n, false, false, t, t, convert_to( \
                        '{{\"data\":{{\"customer\":\"c' || h % 5000 || '\",\"n\":' || n || ',\"note\":\"' || repeat('x', (h % 200)::int) || '\",\"total\":' || h % 10000 || \
                        '}},\"id\":\"order-' || n || '\",\"name\":\"fill/e' || f || '\",\"ts\":' || t || '}}', 'UTF8'), 1 FROM made"
                ),
            ),
            (
                "events",
                format!(
                    "{numbers} {events} SELECT {}, org, env, '{FUNCTION_FINISHED}', 'end-' || n, true, false, t, t + took, convert_to( \
                        '{{\"data\":{{\"function_id\":\"' || function || '\",\"result\":{{\"ok\":true}},\"run_id\":\"' || run || '\"}},\"id\":\"end-' || n || \
                        '\",\"name\":\"{FUNCTION_FINISHED}\",\"ts\":' || t || '}}', 'UTF8'), NULL::smallint FROM made WHERE status IN (3, 4, 5)",
                    id('f')
                ),
            ),
            (
                "runs",
                format!(
                    "{numbers} INSERT INTO runs (id, org_id, env_id, app_id, function_id, function_version, status, skip_reason, event_id, event_name, \
                        rank, revision, request_version, force_plan, queued_at, started_at, ended_at, output) \
                     SELECT run, org, env, app, function, 1, status, CASE WHEN status = 6 THEN 2 END, event, 'fill/e' || f, t, 7, 2, false, t, \
                        CASE WHEN status BETWEEN 2 AND 5 THEN t + 5 END, CASE WHEN status >= 3 THEN t + took END, convert_to(CASE status \
                        WHEN 3 THEN '{{\"ok\":true,\"total\":' || h % 10000 || '}}' WHEN 4 THEN '{{\"message\":\"card declined\",\"name\":\"Error\"}}' \
                        WHEN 5 THEN '{{\"reason\":\"it was cancelled by request\"}}' END, 'UTF8') FROM made"
                ),
            ),
            (
                "failed_attempts",
                format!(
                    "{numbers} INSERT INTO failed_attempts (run_id, step_id, attempt, failed_at, org_id, env_id, class, code, error) \
                     SELECT run, '', 0, t + took, org, env, 'app', 'function_error', convert_to('{{\"message\":\"card declined\",\"name\":\"Error\"}}', 'UTF8') \
                     FROM made WHERE status = 4"
                ),
            ),
            (
                "work",
                format!(
                    "{numbers} INSERT INTO work (id, org_id, env_id, kind, function_id, run_id, step_id, due_at, rank, attempt, epoch, payload) \
                     SELECT md5('w' || n)::uuid, org, env, CASE status WHEN 1 THEN 1 ELSE 4 END, function, run, CASE status WHEN 2 THEN 'paid' END, \
                        {tomorrow}, t, 0, 1, '' FROM made WHERE status IN (1, 2)"
                ),
            ),
            (
                "waits",
                format!(
                    "{numbers} INSERT INTO waits (id, org_id, env_id, kind, run_id, function_id, step_id, rank, event_name, key_path, key_hash, bindings, \
                        trigger_id, since, expires_at) \
                     SELECT md5('p' || n)::uuid, org, env, 1, run, function, 'paid', t, 'fill/paid' || f, 'data.n', n, '{{}}', event, t + 9, {tomorrow} \
                     FROM made WHERE status = 2"
                ),
            ),
        ]
    }

    /// Steps of all runs that were executed.
    fn steps(&self, from: u64, to: u64) -> String {
        let (numbers, steps) = (self.numbers(from, to), self.filling.steps_per_run);
        format!(
            "{numbers} {STEPS} SELECT run, md5('s' || k) || substr(md5('t' || k), 1, 8), org, env, 'step ' || k, 1, 2, k, {MEMO}, t + 5, t + 6 + k, t + 7 + k, {ANSWER} \
             FROM made, generate_series(0, {steps} - 1) AS k WHERE status BETWEEN 2 AND 5"
        )
    }

    /// The steps of runs that wait, and of a few that have waited.
    fn waits(&self, from: u64, to: u64) -> String {
        let (numbers, steps) = (self.numbers(from, to), self.filling.steps_per_run);
        let tomorrow = self.now.plus(Duration::from_secs(86_400)).as_millis();
        format!(
            "{numbers} INSERT INTO steps (run_id, step_id, org_id, env_id, name, kind, status, position, memo, queued_at, ended_at, details) \
             SELECT run, 'paid', org, env, 'paid', 3, CASE status WHEN 2 THEN 1 ELSE 4 END, CASE status WHEN 3 THEN {steps} END, \
                CASE status WHEN 3 THEN convert_to('null', 'UTF8') END, t + 9, CASE status WHEN 3 THEN t + took END, \
                convert_to('{{\"name\":\"fill/paid' || f || '\",\"until\":{tomorrow}}}', 'UTF8') \
             FROM made WHERE status = 2 OR (status = 3 AND n % 3 = 0)"
        )
    }

    /// Figures of both environments and of each of their functions, for every bucket that is kept: the same in all, made up for the number
    /// of runs, and not the sum of the rows.
    fn figures(&self) -> Vec<String> {
        let own = APPS * FUNCTIONS;
        let mut took = Sketch::default();
        for n in 0..200 {
            took.add(Duration::from_millis(200 + n * n));
        }
        let sketch: String = took
            .to_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let seconds = self.now.since(self.start).as_secs().max(1);
        let statement = |(env, functions, width): (EnvId, &[(AppId, FunctionId)], Width)| {
            let of_each = functions
                .iter()
                .map(|(_, function)| format!("('{function}'::uuid, 1)"));
            let all = format!("('{}'::uuid, {own})", Uuid::nil());
            let of_each: Vec<String> = of_each.chain([all]).collect();
            let step = i64::from(width.seconds()) * 1_000;
            let kept = self.now.minus(width.kept()).max(self.start);
            let runs = self.filling.runs * u64::from(width.seconds().unsigned_abs())
                / seconds
                / own as u64;
            let (ended, failed) = (runs * 98 / 100, runs / 100);
            format!(
                "INSERT INTO rollups (env_id, function_id, width, start, runs_queued, runs_skipped, runs_started, runs_completed, runs_failed, \
                    runs_cancelled, steps_completed, steps_failed, steps_cancelled, attempts_retried, requests_ok, requests_failed, events, \
                    queue_delay, run_duration, step_duration, sdk_request, end_to_end, backlog, executing) \
                 SELECT '{env}', f.id, {}, t, {runs} * f.n, 0, {runs} * f.n, {ended} * f.n, {failed} * f.n, 0, {ended} * 5 * f.n, 0, 0, 0, \
                    {ended} * 6 * f.n, {failed} * f.n, {runs} * f.n, s, s, s, s, s, 1, 1 \
                 FROM (VALUES {}) AS f(id, n), generate_series({}::bigint, {}, {step}) AS t, (SELECT '\\x{sketch}'::bytea AS s) AS sketch",
                width.seconds(),
                of_each.join(","),
                width.floor(kept).as_millis(),
                self.now.as_millis(),
            )
        };
        let envs = [
            (DEFAULT_ENV, &self.functions[..own]),
            (OTHER_ENV, &self.functions[own..]),
        ];
        envs.into_iter()
            .flat_map(|(env, functions)| Width::ALL.map(|width| statement((env, functions, width))))
            .collect()
    }

    /// The run with a thousand steps, the last one of all.
    fn big_run(&self) -> [(&'static str, String); 3] {
        let (app, t) = (self.functions[0].0, self.now.as_millis());
        let function = FunctionId::derive(app, BIG_SLUG);
        let (run, event) = (
            first_id(self.now),
            Uuid::from_u128(first_id(self.now).as_u128() + 1),
        );
        let number = APPS * FUNCTIONS;
        [
            (
                "events",
                format!(
                    "INSERT INTO events (id, org_id, env_id, name, key, internal, late, ts, received_at, body) VALUES ('{event}', '{DEFAULT_ORG}', \
                     '{DEFAULT_ENV}', 'fill/e{number}', 'order-big', false, false, {t}, {t}, \
                     convert_to('{{\"data\":{{}},\"id\":\"order-big\",\"name\":\"fill/e{number}\",\"ts\":{t}}}', 'UTF8'))"
                ),
            ),
            (
                "runs",
                format!(
                    "INSERT INTO runs (id, org_id, env_id, app_id, function_id, function_version, status, event_id, event_name, rank, revision, \
                     request_version, force_plan, queued_at, started_at, ended_at, output) VALUES ('{run}', '{DEFAULT_ORG}', '{DEFAULT_ENV}', '{app}', \
                     '{function}', 1, 3, '{event}', 'fill/e{number}', {t}, 1002, 2, false, {t}, {t} + 5, {t} + 9000, convert_to('{{\"ok\":true}}', 'UTF8'))"
                ),
            ),
            (
                "steps",
                format!(
                    "{STEPS} SELECT '{run}', md5('s' || k) || substr(md5('t' || k), 1, 8), '{DEFAULT_ORG}', '{DEFAULT_ENV}', 'step ' || k, 1, 2, k, {MEMO}, \
                     {t} + 5, {t} + 6 + 8 * k, {t} + 13 + 8 * k, {ANSWER} FROM generate_series(0, {BIG_STEPS} - 1) AS k"
                ),
            ),
        ]
    }
}

const STEPS: &str = "INSERT INTO steps (run_id, step_id, org_id, env_id, name, kind, status, position, memo, queued_at, started_at, ended_at, response)";
const MEMO: &str = r#"convert_to('{"data":{"k":' || k || ',"text":"' || repeat('y', 40 + (k % 80)::int) || '"}}', 'UTF8')"#;
/// Status 206 after 1 ms, 64 bytes, from `inngest-js:v4.24.0`.
const ANSWER: &str = r"'\x0100ce000000010000004012696e6e676573742d6a733a76342e32342e30'::bytea";
