// The app whose messages `record.mjs` records. SDK=ts3 or SDK=ts4 picks the installed SDK.
import { createRequire } from "node:module";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const sdk = process.env.SDK ?? "ts4";
const require = createRequire(new URL(`../${sdk}/package.json`, import.meta.url));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { Inngest, NonRetriableError, RetryAfterError, referenceFunction } = await load("inngest");
const { serve } = await load("inngest/node");

const client = new Inngest({ id: "shop", appVersion: "2026-08-01" });
const functions = [];

/** Define a function; v3 takes the triggers as a separate argument, v4 as an option. */
function define(id, options, triggers, handler) {
  const fn =
    sdk === "ts3"
      ? client.createFunction({ id, ...options }, triggers, handler)
      : client.createFunction({ id, triggers, ...options }, handler);
  functions.push(fn);
  return fn;
}
const simple = (id, handler, options = {}) => define(id, { retries: 1, ...options }, [{ event: "shop/go" }], handler);

define(
  "all-fields",
  {
    name: "Every field",
    retries: 7,
    concurrency: [
      { limit: 5, key: "event.data.user", scope: "fn" },
      { limit: 50, key: '"shop"', scope: "account" },
    ],
    idempotency: "event.data.order",
    rateLimit: { limit: 10, period: "1h", key: "event.data.user" },
    throttle: { limit: 10, period: "1m", burst: 2, key: "event.data.user" },
    debounce: { period: "5s", timeout: "1m", key: "event.data.user" },
    priority: { run: "event.data.vip ? 120 : 0" },
    timeouts: { start: "10m", finish: "1d2h" },
    singleton: { key: "event.data.user", mode: "cancel" },
    cancelOn: [
      { event: "shop/cancelled", if: "async.data.id == event.data.id", timeout: "1h" },
      { event: "shop/closed", match: "data.id" },
    ],
    onFailure: async () => "handled",
  },
  [{ event: "shop/paid", if: "event.data.total > 10" }, { event: "shop/paid.*" }, { cron: "TZ=Europe/Paris 0 9 * * 1-5" }],
  async () => "all",
);
define(
  "batched",
  { batchEvents: { maxSize: 3, timeout: "10s", key: "event.data.user", if: "event.data.ok" }, concurrency: 4 },
  [{ event: "shop/batch" }],
  async () => "batched",
);
define("singleton-skip", { singleton: { mode: "skip" } }, [{ event: "shop/go" }], async () => 1);

simple("result", async () => ({ ok: true }));
simple("result-null", async () => {});
simple("throw", async () => {
  throw new TypeError("boom", { cause: new Error("root") });
});
simple("non-retriable", async () => {
  throw new NonRetriableError("stop");
});
simple("retry-after-number", async () => {
  throw new RetryAfterError("later", 30_000);
});
simple("retry-after-date", async () => {
  throw new RetryAfterError("later", new Date("2026-08-01T09:00:00.000Z"));
});
simple("step-run", async ({ step }) => {
  const a = await step.run("a", () => ({ v: 1 }));
  const b = await step.run("b", () => a.v + 1);
  return { b };
});
simple("step-null", async ({ step }) => (await step.run("a", () => {})) ?? "nothing");
simple("step-error", async ({ step }) => {
  try {
    await step.run("bad", () => {
      throw new TypeError("step boom");
    });
  } catch (e) {
    return { caught: e.message };
  }
});
simple("step-uncaught", async ({ step }) => {
  await step.run("bad", () => {
    throw new TypeError("step boom");
  });
});
simple("step-non-retriable", async ({ step }) => {
  await step.run("bad", () => {
    throw new NonRetriableError("never");
  });
});
simple("step-retry-after", async ({ step }) => {
  await step.run("bad", () => {
    throw new RetryAfterError("later", "45s");
  });
});
simple("sleep", async ({ step }) => {
  await step.sleep("nap", "2h");
  return "rested";
});
simple("sleep-until", async ({ step }) => {
  await step.sleepUntil("dawn", new Date("2026-08-02T06:00:00.000Z"));
  return "up";
});
simple("wait", async ({ step }) => {
  const e = await step.waitForEvent("paid", { event: "shop/paid", timeout: "1h", if: "async.data.id == event.data.id" });
  return e ? e.data : "timeout";
});
const target = simple("target", async () => "target");
simple("invoke", async ({ step }) => await step.invoke("call", { function: target, data: { n: 1 }, timeout: "1h" }));
simple("invoke-reference", async ({ step }) => await step.invoke("call", { function: referenceFunction({ appId: "shop", functionId: "target" }) }));
simple("send-event", async ({ step }) => await step.sendEvent("emit", [{ name: "shop/sent", data: { n: 1 } }, { name: "shop/sent", data: { n: 2 }, id: "my-id" }]));
simple("wait-for-signal", async ({ step }) => await step.waitForSignal("sig", { signal: "shop-signal", timeout: "1h", onConflict: "fail" }));
simple("send-signal", async ({ step }) => await step.sendSignal("sig", { signal: "shop-signal", data: { n: 1 } }));
simple("parallel", async ({ step }) => await Promise.all([step.run("p1", () => 1), step.run("p2", () => 2), step.sleep("p3", "1h")]));
simple("fetch", async ({ step }) => {
  const r = await step.fetch("http://127.0.0.1:9/data?x=1", { method: "PUT", headers: { "x-a": "b" }, body: "hello" });
  return r.status;
});
simple("ai-infer", async ({ step }) =>
  await step.ai.infer("ask", {
    model: step.ai.models.openai({ model: "gpt-4o", apiKey: "test-key", baseUrl: "http://127.0.0.1:9/v1/" }),
    body: { messages: [{ role: "user", content: "hi" }] },
  }),
);
simple("ai-wrap", async ({ step }) => await step.ai.wrap("wrapped", async (x) => ({ x }), 5));

const handler = serve({ client, functions, ...(process.env.STREAM ? { streaming: sdk === "ts3" ? "force" : true } : {}) });
createServer(async (req, res) => {
  if (!req.url.startsWith("/api/inngest")) {
    const sent = await client.send([{ name: "shop/one", data: { n: 1 } }, { name: "shop/two", id: "two", ts: 1785570000000, data: {}, user: { id: 7 } }]);
    res.end(JSON.stringify(sent));
    return;
  }
  handler(req, res);
}).listen(Number(process.env.PORT), "127.0.0.1");
