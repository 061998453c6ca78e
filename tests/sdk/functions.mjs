// The functions that the end-to-end tests start, for both major versions of the TypeScript SDK.
//
// A function `x` of app `a` listens to the event `a/x` unless it says otherwise. What it does is told in
// the journal under the marker that the event carries, so that tests may run side by side.
import { write } from "./journal.mjs";

const MEBIBYTE = 1024 * 1024;
const filler = (megabytes) => "x".repeat(Math.floor(megabytes * MEBIBYTE));

/**
 * @param sdk what differs between the versions: `app` (the app's id), `define(options, triggers, handler)`,
 *   `NonRetriableError`, `RetryAfterError`, `referenceFunction`, `race(group, body)`.
 * @param self the base URL of this process.
 */
export function functions(sdk, self) {
  const { app, NonRetriableError, RetryAfterError, referenceFunction } = sdk;
  const all = [];

  /** Defines a function under its id; `note(what, data)` writes to the journal. */
  function on(id, handler, options = {}, triggers = [{ event: `${app}/${id}` }]) {
    const noted = (ctx) => {
      const note = (what, data) =>
        write({ marker: ctx.event.data?.marker, function: id, what, data, attempt: ctx.attempt, runId: ctx.runId });
      return handler({ ...ctx, note, input: ctx.event.data });
    };
    const fn = sdk.define({ id, ...options }, triggers, noted);
    all.push(fn);
    return fn;
  }

  /** A failure handler that writes what it was told to the journal of the run that failed. */
  const onFailure = ({ event, error, runId }) => {
    write({
      marker: event.data.event.data.marker,
      what: "failure handled",
      data: { message: error.message, run: event.data.run_id, function: event.data.function_id },
      runId,
    });
  };

  // Functions without steps.

  on("echo", ({ input, note }) => {
    note("called");
    return input;
  });
  on("nothing", ({ note }) => note("called"));
  on(
    "flaky",
    ({ attempt, input, note }) => {
      note("called");
      if (attempt < input.failures) throw new Error(`failure ${attempt}`);
      return { attempt };
    },
    { retries: 3 },
  );
  on(
    "hopeless",
    ({ note }) => {
      note("called");
      throw new TypeError("boom");
    },
    { retries: 1, onFailure },
  );
  on(
    "non-retriable",
    ({ note }) => {
      note("called");
      throw new NonRetriableError("stop");
    },
    { retries: 3 },
  );
  on(
    "retry-after",
    ({ attempt, input, note }) => {
      note("called");
      if (attempt === 0) throw new RetryAfterError("later", input.asDate ? new Date(Date.now() + 3000) : 3000);
      return "recovered";
    },
    { retries: 3 },
  );

  // Steps that run code.

  on("steps", async ({ step, input, note }) => {
    const a = await step.run("a", () => {
      note("a");
      return input.n + 1;
    });
    const b = await step.run("b", () => {
      note("b");
      return { value: a * 2 };
    });
    const c = await step.run("c", () => {
      note("c");
      return [b.value, null];
    });
    return { a, b, c };
  });
  on("limited", async ({ step }) => {
    await step.run("one", () => null);
    await step.run("two", () => null);
  });
  on("step-inputs", async ({ step, input, note }) => {
    const a = await step.run("a", () => {
      note("a");
      return input.n + 1;
    });
    const times = (x, factor) => {
      note("b", { x, factor });
      return x * factor;
    };
    const b = await step.run("b", times, a, 10);
    return { a, b, c: await step.run("c", () => b + 1) };
  });
  on("step-null", async ({ step, note }) => {
    const value = await step.run("a", () => note("a"));
    return { value: value ?? null };
  });
  on(
    "step-flaky",
    async ({ step, input, note, attempt }) => {
      await step.run("before", () => note("before"));
      return await step.run("flaky", () => {
        note("flaky");
        if (attempt < input.failures) throw new Error("not yet");
        return { attempt };
      });
    },
    { retries: 3 },
  );
  on(
    "step-caught",
    async ({ step, note }) => {
      let caught;
      try {
        await step.run("bad", () => {
          note("bad");
          throw new TypeError("step boom");
        });
      } catch (error) {
        caught = error.message;
      }
      const after = await step.run("after", () => {
        note("after");
        return 1;
      });
      return { caught, after };
    },
    { retries: 1 },
  );
  on(
    "step-uncaught",
    async ({ step, note }) => {
      await step.run("bad", () => {
        note("bad");
        throw new TypeError("step boom");
      });
    },
    { retries: 1, onFailure },
  );
  on(
    "step-non-retriable",
    async ({ step, note }) => {
      try {
        await step.run("bad", () => {
          note("bad");
          throw new NonRetriableError("never");
        });
      } catch (error) {
        return { caught: error.message };
      }
    },
    { retries: 3 },
  );
  on(
    "step-retry-after",
    async ({ step, attempt, note }) =>
      await step.run("bad", () => {
        note("bad");
        if (attempt === 0) throw new RetryAfterError("later", 3000);
        return "recovered";
      }),
    { retries: 3 },
  );
  on("step-loop", async ({ step, input }) => {
    const results = [];
    for (let i = 0; i < input.n; i++) results.push(await step.run("again", () => i));
    return results;
  });
  on("step-input", async ({ step, input, note }) => {
    return await step.run("double", (n) => (note("double", n), n * 2), input.n);
  });

  // Time.

  on("sleep", async ({ step, note }) => {
    await step.run("before", () => note("before"));
    await step.sleep("nap", "1s");
    await step.run("after", () => note("after"));
    return "rested";
  });
  on("sleep-until", async ({ step, note }) => {
    const until = await step.run("before", () => {
      note("before");
      return Date.now() + 1500;
    });
    await step.sleepUntil("dawn", new Date(until));
    await step.run("after", () => note("after"));
    return "up";
  });
  on("sleep-past", async ({ step }) => {
    await step.sleepUntil("yesterday", new Date(Date.now() - 86_400_000));
    return "late";
  });
  on("sleep-long", async ({ step, note }) => {
    await step.run("before", () => note("before"));
    await step.sleep("long", "1h");
    note("woke");
    return "woke";
  });

  // Events and signals.

  on("wait", async ({ step, input, note }) => {
    await step.run("before", () => note("before"));
    const answer = await step.waitForEvent("answer", {
      event: `${app}/answer`,
      timeout: "1m",
      if: "async.data.to == event.data.marker && async.data.ok == true",
    });
    return { answer: answer?.data ?? null, name: answer?.name ?? null, to: input.marker };
  });
  on("wait-match", async ({ step, note }) => {
    await step.run("before", () => note("before"));
    const answer = await step.waitForEvent("answer", { event: `${app}/match`, timeout: "1m", match: "data.marker" });
    return { answer: answer?.data.value ?? null };
  });
  on("wait-timeout", async ({ step, note }) => {
    const answer = await step.waitForEvent("answer", { event: `${app}/never`, timeout: "1s" });
    note("gave up");
    return { answer };
  });
  on("wait-lookback", async ({ step, input }) => {
    await step.sendEvent("ask", { name: `${app}/lookback`, data: { to: input.marker, n: 1 } });
    const answer = await step.waitForEvent("answer", {
      event: `${app}/lookback`,
      timeout: "4s",
      if: "async.data.to == event.data.marker",
    });
    return { answer: answer?.data.n ?? null };
  });
  on("send-event", async ({ step, input }) => {
    const { marker } = input;
    return await step.sendEvent("emit", [
      { name: `${app}/receiver`, data: { marker, n: 1 } },
      { name: `${app}/receiver`, data: { marker, n: 2 } },
    ]);
  });
  on("receiver", ({ event, input, note }) => {
    note("received", { n: input.n, name: event.name });
    return input.n;
  });
  on("signal", async ({ step, input, note }) => {
    await step.run("before", () => note("before"));
    const signal = await step.waitForSignal("wait", {
      signal: input.signal,
      timeout: input.timeout ?? "1m",
      onConflict: input.conflict ?? "fail",
    });
    return { signal };
  });
  on("send-signal", async ({ step, input }) => {
    await step.sendSignal("send", { signal: input.signal, data: { from: input.marker } });
    return "sent";
  });

  // Other functions.

  const callee = on("callee", ({ input, note, event }) => {
    note("called", { event: event.name });
    return { doubled: (input.n ?? 0) * 2 };
  });
  const calleeFailing = on("callee-failing", () => {
    throw new NonRetriableError("callee failed");
  });
  const calleeSlow = on("callee-slow", async ({ step, note }) => {
    await step.run("before", () => note("slow started"));
    await step.sleep("long", "1h");
  });
  const invoked = async (call) => {
    try {
      return { result: await call() };
    } catch (error) {
      return { caught: error.message };
    }
  };
  on("invoke", async ({ step, input }) => {
    const { marker, n } = input;
    return await invoked(() => step.invoke("call", { function: callee, data: { marker, n } }));
  });
  on("invoke-failing", async ({ step }) => await invoked(() => step.invoke("call", { function: calleeFailing, data: {} })));
  on("invoke-timeout", async ({ step }) =>
    await invoked(() => step.invoke("call", { function: calleeSlow, data: {}, timeout: "1s" })),
  );
  on("invoke-unknown", async ({ step }) =>
    await invoked(() => step.invoke("call", { function: referenceFunction({ appId: app, functionId: "nowhere" }), data: {} })),
  );
  on("invoke-slow", async ({ step, input }) => {
    const { marker } = input;
    return await invoked(() => step.invoke("call", { function: calleeSlow, data: { marker } }));
  });

  // Parallel steps.

  on("parallel", async ({ step, note }) => {
    const one = (id, value) =>
      step.run(id, () => {
        note(id);
        return value;
      });
    const results = await Promise.all([one("p1", 1), one("p2", 2), one("p3", 3)]);
    const sum = await step.run("sum", () => {
      note("sum");
      return results.reduce((a, b) => a + b, 0);
    });
    return { results, sum };
  });
  on(
    "parallel-failing",
    async ({ step, note }) => {
      const settled = await Promise.allSettled([
        step.run("good", () => {
          note("good");
          return 1;
        }),
        step.run("bad", () => {
          note("bad");
          throw new Error("parallel boom");
        }),
      ]);
      return settled.map((one) => one.value ?? one.reason.message);
    },
    { retries: 1 },
  );
  on("parallel-chains", async ({ step, note }) => {
    const chain = async (name) => {
      const first = await step.run(`${name}1`, () => {
        note(`${name}1`);
        return 1;
      });
      return await step.run(`${name}2`, () => {
        note(`${name}2`);
        return first + 1;
      });
    };
    return await Promise.all([chain("a"), chain("b")]);
  });
  on("parallel-sleep", async ({ step, note }) => {
    const [, value] = await Promise.all([
      step.sleep("nap", "1s"),
      step.run("work", () => {
        note("work");
        return 7;
      }),
    ]);
    return value;
  });
  on("race", async ({ step, group }) =>
    await sdk.race(group, () =>
      Promise.race([
        step.run("fast", () => "fast"),
        step.waitForEvent("slow", { event: `${app}/late`, timeout: "1m", match: "data.marker" }).then(() => "slow"),
      ]),
    ),
  );
  on("parallel-wide", async ({ step, input }) => {
    const steps = Array.from({ length: input.n }, (_, i) => step.run(`wide ${i}`, () => i));
    return (await Promise.all(steps)).length;
  });

  // Requests made by the server.

  on("fetch", async ({ step }) => {
    const response = await step.fetch(`${self}/echo?q=1`, { method: "PUT", headers: { "x-test": "yes" }, body: "hello" });
    return { status: response.status, ...(await response.json()) };
  });
  on("fetch-missing", async ({ step }) => {
    const response = await step.fetch(`${self}/missing`);
    return { status: response.status };
  });
  on("infer", async ({ step }) => {
    const answer = await step.ai.infer("ask", {
      model: step.ai.models.openai({ model: "test-model", apiKey: "test-key", baseUrl: `${self}/v1/` }),
      body: { messages: [{ role: "user", content: "hi" }] },
    });
    return answer.choices[0].message.content;
  });

  // Cancellation and timeouts.

  const hour = async ({ step, note }) => {
    await step.run("before", () => note("before"));
    await step.sleep("long", "1h");
    return "woke";
  };
  on("cancellable", hour, {
    cancelOn: [{ event: `${app}/cancel`, if: "async.data.marker == event.data.marker" }],
  });
  on("cancellable-match", hour, { cancelOn: [{ event: `${app}/cancel-match`, match: "data.marker" }] });
  on("finish-timeout", hour, { timeouts: { finish: "1s" } });
  on(
    "start-timeout",
    async ({ step, note }) => {
      await step.run("hold", async () => {
        note("held");
        await new Promise((done) => setTimeout(done, 2500));
      });
      return "held";
    },
    { timeouts: { start: "1s" }, concurrency: { limit: 1, key: "event.data.marker" } },
  );

  // What starts a run.

  on("idempotent", ({ note }) => note("called"), { idempotency: "event.data.key" });
  on("wildcard", ({ event, note }) => (note("called", event.name), event.name), {}, [{ event: `${app}/wild.*` }]);
  on("filtered", ({ note }) => note("called"), {}, [{ event: `${app}/filtered`, if: "event.data.total > 10" }]);
  on("either", ({ event, note }) => (note("called", event.name), event.name), {}, [
    { event: `${app}/first` },
    { event: `${app}/second` },
  ]);
  on("twice", ({ note }) => note("called"), {}, [{ event: `${app}/twice` }, { event: `${app}/twice`, if: "event.data.total > 10" }]);
  on("watched", ({ input }) => ({ of: input.marker }));
  on(
    "finished",
    ({ event }) => {
      const { data } = event;
      write({ marker: data.event.data.marker, what: "finished", data: { result: data.result, run: data.run_id, status: data._inngest?.status } });
    },
    {},
    [{ event: "inngest/function.finished", if: `event.data.function_id == '${app}-watched'` }],
  );
  on("minutely", ({ event }) => write({ marker: "cron", what: "tick", data: event.data }), {}, [{ cron: "* * * * *" }]);

  // Flow control.

  on("batched", ({ events, note }) => (note("batch", events.map((e) => e.data.n)), events.length), {
    batchEvents: { maxSize: 3, timeout: "2s", key: "event.data.marker" },
  });
  on("debounced", ({ input, note }) => (note("called", input.n), input.n), {
    debounce: { period: "1s", key: "event.data.marker" },
  });
  on("rate-limited", ({ note }) => note("called"), {
    rateLimit: { limit: 1, period: "1m", key: "event.data.marker" },
  });
  on("throttled", ({ note }) => note("called"), {
    throttle: { limit: 1, period: "2s", key: "event.data.marker" },
  });
  on(
    "one-at-a-time",
    async ({ step, note }) => {
      await step.run("work", async () => {
        note("enter");
        await new Promise((done) => setTimeout(done, 250));
        note("leave");
      });
    },
    { concurrency: { limit: 1, key: "event.data.marker" } },
  );
  on("singleton-skip", hour, { singleton: { mode: "skip", key: "event.data.marker" } });
  on("singleton-cancel", hour, { singleton: { mode: "cancel", key: "event.data.marker" } });

  // Limits.

  on("large-step", async ({ step }) => (await step.run("large", () => filler(5))).length, { retries: 0 });
  on("large-result", () => filler(9), { retries: 0 });
  on("large-state", async ({ step, note }) => {
    const lengths = [];
    for (let i = 0; i < 4; i++) {
      const text = await step.run(`part ${i}`, () => {
        note(`part ${i}`);
        return filler(1.5);
      });
      lengths.push(text.length);
    }
    return lengths;
  });

  return all;
}
