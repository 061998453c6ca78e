// Records what the real SDKs say on the wire into the golden files of `inngest-core`.
//
//   node record.mjs [js4] [js3] [py]
//
// Plays the server's side of the protocol with canned answers: accepts registrations, events and
// checkpoints, and sends calls. Everything that differs between two recordings (ids made by the SDK,
// stack traces, ports, times) is replaced, so a new recording of the same SDK changes nothing.
import { createServer } from "node:http";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const out = here("../../../crates/inngest-core/src/wire/golden/");
const RUN = "01K3ZC6WQ5M3J6V9Y1Z8T3B2XA";
const FN = "5ad06df4-6f2c-4c41-9e7b-0d0f8f1a2b3c";
const sha1 = (text) => createHash("sha1").update(text).digest("hex");
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
mkdirSync(out, { recursive: true });

const canonical = (value) => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value && typeof value === "object")
    return `{${Object.keys(value).sort().map((k) => `${JSON.stringify(k)}:${canonical(value[k])}`).join(",")}}`;
  return JSON.stringify(value);
};

/** Headers a codec reads; everything else is noise of the HTTP stack. */
const relevant = (headers, request) =>
  Object.fromEntries(
    Object.entries(headers)
      .filter(([k]) => k.startsWith("x-inngest") || ["retry-after", "content-type"].includes(k) || (request && ["authorization", "user-agent"].includes(k)))
      .map(([k, v]) => [k, k === "x-inngest-event-id-seed" ? "1785570000000,AAECAwQFBgcICQ==" : v])
      .sort(),
  );

let ports = [];
/** Replace what is particular to one recording. */
function clean(value, key = "") {
  if (Array.isArray(value)) return value.map((v) => clean(v));
  if (value && typeof value === "object") {
    if (key === "timing" && "a" in value) return { a: 1785570000000000000n, b: 452 };
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, clean(v, k)]));
  }
  if (typeof value === "number" && ["ts", "request_started_at"].includes(key)) return 1785570000000;
  if (typeof value !== "string") return value;
  if (key === "stack" && value) return "…";
  if (/^[[{].*"(op|stack|message)"/s.test(value) || /^"/.test(value)) {
    try {
      return print(clean(JSON.parse(value)), 0);
    } catch {
      /* not JSON after all */
    }
  }
  let text = value;
  text = text.replaceAll(`:${ports[0]}`, ":3000").replaceAll(`:${ports[1]}`, ":8288");
  if (/^20\d\d-\d\d-\d\dT/.test(text) && !text.startsWith("2026-08-0")) text = "2026-08-01T11:00:00.000Z";
  if (key.toLowerCase() === "server-timing") text = "handler;dur=1";
  if (/node_modules|site-packages|file:\/\/|\/(work|tmp|root)\//.test(text)) text = "…";
  return text;
}
/** JSON with big integers written as plain numbers. */
function print(value, indent = 2) {
  return JSON.stringify(value, (_, v) => (typeof v === "bigint" ? `@big${v}` : v), indent).replace(/"@big(\d+)"/g, "$1");
}
const json = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};

async function record(label, command, args, env) {
  const prefix = label.replace("-", "");
  let version = "";
  let count = 0;
  const requests = [];
  const save = (name, what, message) => {
    count += 1;
    writeFileSync(`${out}${prefix}_${name}.json`, `${print(clean({ sdk: label, version, what, ...message }))}\n`);
  };
  const stub = createServer((req, res) => {
    const chunks = [];
    req.on("data", (c) => chunks.push(c));
    req.on("end", () => {
      const body = Buffer.concat(chunks).toString();
      requests.push({ method: req.method, path: req.url, headers: relevant(req.headers, true), body: json(body) });
      res.setHeader("content-type", "application/json");
      res.setHeader("x-inngest-server-kind", "dev");
      if (req.url.startsWith("/fn/register")) res.end('{"ok":true,"modified":true}');
      else if (req.url.startsWith("/e/")) {
        const n = Array.isArray(json(body)) ? json(body).length : 1;
        res.end(JSON.stringify({ ids: Array.from({ length: n }, (_, i) => `01K3ZC6WQ5M3J6V9Y1Z8T3B2X${i}`), status: 200 }));
      } else if (req.url.startsWith("/v1/signals")) res.end(JSON.stringify({ data: { run_id: RUN } }));
      else if (req.url.startsWith("/v1/checkpoint")) res.end();
      else res.end("{}");
    });
  });
  await new Promise((done) => stub.listen(0, "127.0.0.1", done));
  const serverPort = stub.address().port;
  const port = 20000 + Math.floor(Math.random() * 10000);
  ports = [port, serverPort];
  const run = async (stream) => {
    const app = spawn(command, args, {
      env: { PATH: process.env.PATH, ...env, PORT: String(port), INNGEST_DEV: `http://127.0.0.1:${serverPort}`, ...(stream ? { STREAM: "1" } : {}) },
      stdio: ["ignore", "ignore", "inherit"],
    });
    for (let i = 0; ; i++) {
      try {
        await fetch(url);
        return app;
      } catch (e) {
        if (i > 150) throw e;
        await sleep(100);
      }
    }
  };
  const url = `http://127.0.0.1:${port}/api/inngest`;
  const reply = async (response) => ({ status: response.status, headers: relevant(Object.fromEntries(response.headers)), body: json(await response.text()) });

  /** One call. `over` overrides members of ctx and the body; `target` is a step's hashed id. */
  const call = async (fn, { steps = {}, ctx = {}, version: v = -1, target = "step", event, checkpoint = false } = {}) => {
    const trigger = event ?? { name: "shop/go", id: RUN, ts: 1785570000000, data: { id: 5 }, user: {} };
    const body = {
      ctx: {
        attempt: 0, disable_immediate_execution: false, env: "", ...(checkpoint ? { fn_id: FN, qi_id: "cWk6OmRlZmF1bHQ=" } : label === "js-4" ? {} : { fn_id: FN, qi_id: "cWk6OmRlZmF1bHQ=" }),
        generation_id: 1, job_id: "job", max_attempts: 2, request_id: "01K3ZC6WQ5M3J6V9Y1Z8T3B2XB", run_id: RUN,
        stack: { current: Object.keys(steps).length, stack: Object.keys(steps) }, step_id: "step", use_api: false, ...ctx,
      },
      defers: {}, event: trigger, events: [trigger], steps, use_api: false, version: v,
    };
    const response = await fetch(`${url}?fnId=shop-${fn}&stepId=${target}`, {
      method: "POST", redirect: "manual",
      headers: {
        "content-type": "application/json", "user-agent": "Inngest", "x-run-id": RUN, "x-inngest-step-id": target, "x-inngest-req-version": String(v),
        "x-request-id": "01K3ZC6WQ5M3J6V9Y1Z8T3B2XB", "x-inngest-job-id": "job", "x-inngest-generation-id": "1",
      },
      body: canonical(body),
    });
    return reply(response);
  };
  const op = (r) => (Array.isArray(r.body) ? r.body[0] : undefined);
  const shot = async (name, what, fn, options) => {
    const r = await call(fn, options);
    save(`reply_${name}`, what, r);
    return r;
  };

  let app = await run(false);
  try {
    // Registration and introspection.
    const put = await fetch(url, { method: "PUT", headers: { "content-type": "application/json", "x-inngest-server-kind": "dev" }, body: JSON.stringify({ url }) });
    const register = requests.find((r) => r.path.startsWith("/fn/register"));
    version = register.body.sdk.replace(/^\w+:v/, "");
    save("register", "registration of functions", register);
    save("put_reply", "answer to the server's PUT", await reply(put));
    const deploy = requests.length;
    await fetch(`${url}?deployId=d1`, { method: "PUT", headers: { "content-type": "application/json", "x-inngest-server-kind": "dev" }, body: JSON.stringify({ url }) }).then((r) => r.text());
    const second = requests.slice(deploy).find((r) => r.path.startsWith("/fn/register"));
    if (second) save("register_deploy_id", "registration with a deploy id in the query", { ...second, body: { ...second.body, functions: second.body.functions.slice(0, 1) } });
    const inband = await fetch(url, { method: "PUT", headers: { "content-type": "application/json", "x-inngest-server-kind": "dev", "x-inngest-sync-kind": "in_band" }, body: JSON.stringify({ url }) });
    save("put_in_band_reply", "answer to an unsigned in-band PUT", await reply(inband));
    save("introspection", "answer to an unsigned GET", await reply(await fetch(url)));

    // Function level.
    await shot("result", "plain return value, checkpointing off", "result");
    await shot("result_null", "no return value, checkpointing off", "result-null");
    await shot("error", "thrown error, attempts left", "throw");
    await shot("error_last", "thrown error, last attempt", "throw", { ctx: { attempt: 1 } });
    await shot("non_retriable", "non-retriable error", "non-retriable");
    await shot("retry_after_number", "retry-after error with a duration", "retry-after-number");
    await shot("retry_after_date", "retry-after error with a date", "retry-after-date");
    await shot("unknown_function", "call of a function the app does not have", "nowhere");

    // Steps.
    const a = await shot("step_run", "step result", "step-run");
    const memo = { [op(a).id]: { data: op(a).data?.data ?? op(a).data } };
    await shot("step_run_second", "second step after a memo", "step-run", { steps: memo });
    if (label !== "py") await shot("step_run_null", "step without a result", "step-null");
    const bad = await shot("step_error", "step error, attempts left", "step-error");
    await shot("step_failed", "step error, last attempt", "step-error", { ctx: { attempt: 1 } });
    const failed = { [op(bad).id]: { error: { name: "TypeError", message: "step boom", stack: "…" } } };
    await shot("step_failed_caught", "result after a caught step error", "step-error", { steps: failed });
    await shot("step_failed_uncaught", "step error that nobody caught", "step-uncaught", { steps: failed });
    await shot("step_non_retriable", "non-retriable error inside a step", "step-non-retriable");
    if (label !== "py") await shot("step_retry_after", "retry-after error inside a step", "step-retry-after");
    await shot("sleep", "sleep", "sleep");
    await shot("sleep_done", "result after a sleep", "sleep", { steps: { [sha1("nap")]: null } });
    await shot("sleep_until", "sleep until a date", "sleep-until");
    await shot("wait_for_event", "wait for an event", "wait");
    await shot("wait_for_event_done", "result after a wait that matched", "wait", {
      steps: { [sha1("paid")]: { name: "shop/paid", id: RUN, ts: 1785570000000, data: { id: 5 }, user: {} } },
    });
    await shot("wait_for_event_timeout", "result after a wait that timed out", "wait", { steps: { [sha1("paid")]: null } });
    await shot("invoke", "invoke a function", "invoke");
    await shot("invoke_reference", "invoke a function by reference, no data", "invoke-reference");
    let mark = requests.length;
    await shot("send_event", "events sent from a step", "send-event");
    const sent = requests.slice(mark).find((r) => r.path.startsWith("/e/"));
    if (sent) save("event_from_step", "events posted by the SDK from a step", sent);
    const plan = await shot("parallel", "three parallel steps", "parallel");
    await shot("parallel_targeted", "targeted call of a planned step", "parallel", { target: sha1("p1"), version: 2, ctx: { disable_immediate_execution: true } });
    await shot("parallel_replan", "later discovery repeats unfinished steps", "parallel", { version: 2, steps: { [sha1("p1")]: { data: 1 } }, ctx: { disable_immediate_execution: true } });
    await shot("single_planned", "single step under forced planning", "step-run", { version: 2, ctx: { disable_immediate_execution: true } });
    await shot("targeted_unknown", "targeted call of a step that does not exist", "parallel", { target: sha1("nothing"), version: 2, ctx: { disable_immediate_execution: true } });
    void plan;
    await shot("ai_infer", "inference request", "ai-infer");
    if (label === "py") await shot("parallel_race", "two racing steps", "parallel-race");
    if (label !== "py") {
      await shot("wait_for_signal", "wait for a signal", "wait-for-signal");
      mark = requests.length;
      await shot("send_signal", "signal sent from a step", "send-signal");
      const signal = requests.slice(mark).find((r) => r.path.startsWith("/v1/signals"));
      if (signal) save("signal_request", "signal posted by the SDK", signal);
      await shot("fetch", "step.fetch", "fetch");
      await shot("fetch_done", "result after step.fetch", "fetch", {
        steps: { [sha1("step.fetch: 127.0.0.1")]: { data: { url: "http://127.0.0.1:9/data?x=1", headers: { "content-type": "text/plain" }, body: "yes", status_code: 200 } } },
      });
      await shot("ai_wrap", "step.ai.wrap", "ai-wrap");
    }
    if (label === "js-4") {
      await shot("run_complete", "result with checkpointing on", "result", { checkpoint: true });
      await shot("run_complete_null", "no result with checkpointing on", "result-null", { checkpoint: true });
      mark = requests.length;
      await shot("checkpointed_result", "result of a function whose steps were checkpointed", "step-run", { checkpoint: true });
      requests.slice(mark).filter((r) => r.path.startsWith("/v1/checkpoint")).forEach((r, i) => save(`checkpoint_${i}`, "finished step posted while the app keeps running", r));
      mark = requests.length;
      await shot("checkpointed_error", "step error with checkpointing on", "step-error", { checkpoint: true });
      await shot("checkpointed_sleep", "sleep with checkpointing on", "sleep", { checkpoint: true });
      await shot("checkpointed_parallel", "parallel steps with checkpointing on", "parallel", { checkpoint: true });
      requests.slice(mark).filter((r) => r.path.startsWith("/v1/checkpoint")).forEach((r, i) => save(`checkpoint_other_${i}`, "checkpoint post of a function with an error, a sleep or parallel steps", r));
    }

    // Events from outside a run.
    mark = requests.length;
    await fetch(`http://127.0.0.1:${port}/send`).then((r) => r.text());
    const events = requests.slice(mark).find((r) => r.path.startsWith("/e/"));
    if (events) save("event", "events posted by the SDK", events);

    app.kill("SIGKILL");
    await sleep(200);
    app = await run(true);
    await shot("stream_result", "streamed return value", "result");
    await shot("stream_step_run", "streamed step result", "step-run");
    await shot("stream_error", "streamed error", "throw");
    await shot("stream_retry_after", "streamed retry-after error", "retry-after-number");
  } finally {
    app.kill("SIGKILL");
    stub.close();
  }
  console.log(`${label} ${version}: ${count} recordings`);
}

const wanted = process.argv.slice(2);
const all = {
  js4: () => record("js-4", "node", [here("app.mjs")], { SDK: "ts4" }),
  js3: () => record("js-3", "node", [here("app.mjs")], { SDK: "ts3" }),
  py: () => record("py", here("../py/.venv/bin/python"), [here("app.py")], {}),
};
for (const [name, run] of Object.entries(all)) if (!wanted.length || wanted.includes(name)) await run();
