"""The functions that the end-to-end tests start, for the Python SDK.

A function `x` of app `a` listens to the event `a/x` unless it says otherwise. What it does is told in the
journal under the marker that the event carries, so that tests may run side by side.
"""

import asyncio
import datetime
import time
import typing

import inngest
from inngest.experimental import ai

from journal import write

UTC = datetime.timezone.utc
SECOND = datetime.timedelta(seconds=1)
MEBIBYTE = 1024 * 1024


class Noted:
    """A function's context, with a journal and the event's data within reach."""

    def __init__(self, ctx: inngest.Context, function: str) -> None:
        self.event = ctx.event
        self.events = ctx.events
        self.attempt = ctx.attempt
        self.step = ctx.step
        self.group = ctx.group
        self.input = ctx.event.data
        self.run_id = ctx.run_id
        self._function = function

    def note(self, what: str, data: object = None) -> None:
        write(
            {
                "marker": self.input.get("marker"),
                "function": self._function,
                "what": what,
                "data": data,
                "attempt": self.attempt,
                "runId": self.run_id,
            }
        )

    async def noted_step(self, step_id: str, result: object = None) -> typing.Any:
        """A step that writes its id to the journal and returns `result`."""

        async def body() -> typing.Any:
            self.note(step_id)
            return result

        return await self.step.run(step_id, body)


async def on_failure(ctx: inngest.Context) -> None:
    """Writes what a failure handler is told to the journal of the run that failed."""
    data: typing.Any = ctx.event.data
    write(
        {
            "marker": data["event"]["data"]["marker"],
            "what": "failure handled",
            "data": {"message": data["error"]["message"], "run": data["run_id"], "function": data["function_id"]},
            "runId": ctx.run_id,
        }
    )


def functions(client: inngest.Inngest, self_url: str) -> list[inngest.Function]:
    app = client.app_id
    every: list[inngest.Function] = []

    def on(fn_id: str, triggers: list | None = None, **options: typing.Any):
        """Defines the decorated function under `fn_id`."""

        def decorate(handler):
            async def noted(ctx: inngest.Context) -> typing.Any:
                return await handler(Noted(ctx, fn_id))

            chosen = triggers or [inngest.TriggerEvent(event=f"{app}/{fn_id}")]
            fn = client.create_function(fn_id=fn_id, trigger=chosen, **options)(noted)
            every.append(fn)
            return fn

        return decorate

    # Functions without steps.

    @on("echo")
    async def echo(ctx):
        ctx.note("called")
        return ctx.input

    @on("nothing")
    async def nothing(ctx):
        ctx.note("called")

    @on("flaky", retries=3)
    async def flaky(ctx):
        ctx.note("called")
        if ctx.attempt < ctx.input["failures"]:
            raise ValueError(f"failure {ctx.attempt}")
        return {"attempt": ctx.attempt}

    @on("hopeless", retries=1, on_failure=on_failure)
    async def hopeless(ctx):
        ctx.note("called")
        raise TypeError("boom")

    @on("non-retriable", retries=3)
    async def non_retriable(ctx):
        ctx.note("called")
        raise inngest.NonRetriableError("stop")

    @on("retry-after", retries=3)
    async def retry_after(ctx):
        ctx.note("called")
        if ctx.attempt == 0:
            later = datetime.datetime.now(UTC) + 3 * SECOND if ctx.input.get("asDate") else 3 * SECOND
            raise inngest.RetryAfterError("later", later)
        return "recovered"

    # Steps that run code.

    @on("steps")
    async def steps(ctx):
        a = await ctx.noted_step("a", ctx.input["n"] + 1)
        b = await ctx.noted_step("b", {"value": a * 2})
        c = await ctx.noted_step("c", [b["value"], None])
        return {"a": a, "b": b, "c": c}

    @on("limited")
    async def limited(ctx):
        await ctx.noted_step("one")
        await ctx.noted_step("two")

    @on("step-null")
    async def step_null(ctx):
        return {"value": await ctx.noted_step("a")}

    @on("step-flaky", retries=3)
    async def step_flaky(ctx):
        await ctx.noted_step("before")

        async def body():
            ctx.note("flaky")
            if ctx.attempt < ctx.input["failures"]:
                raise ValueError("not yet")
            return {"attempt": ctx.attempt}

        return await ctx.step.run("flaky", body)

    def bad(ctx, error: Exception):
        async def body():
            ctx.note("bad")
            raise error

        return ctx.step.run("bad", body)

    @on("step-caught", retries=1)
    async def step_caught(ctx):
        caught = None
        try:
            await bad(ctx, TypeError("step boom"))
        except inngest.StepError as error:
            caught = error.message
        return {"caught": caught, "after": await ctx.noted_step("after", 1)}

    @on("step-uncaught", retries=1, on_failure=on_failure)
    async def step_uncaught(ctx):
        await bad(ctx, TypeError("step boom"))

    @on("step-loop")
    async def step_loop(ctx):
        results = []
        for i in range(ctx.input["n"]):

            async def body(i=i):
                return i

            results.append(await ctx.step.run("again", body))
        return results

    # Time.

    @on("sleep")
    async def sleep(ctx):
        await ctx.noted_step("before")
        await ctx.step.sleep("nap", SECOND)
        await ctx.noted_step("after")
        return "rested"

    @on("sleep-until")
    async def sleep_until(ctx):
        until = await ctx.noted_step("before", int(time.time() * 1000) + 1500)
        await ctx.step.sleep_until("dawn", datetime.datetime.fromtimestamp(until / 1000, UTC))
        await ctx.noted_step("after")
        return "up"

    @on("sleep-past")
    async def sleep_past(ctx):
        await ctx.step.sleep_until("yesterday", datetime.datetime.now(UTC) - datetime.timedelta(days=1))
        return "late"

    async def hour(ctx):
        await ctx.noted_step("before")
        await ctx.step.sleep("long", datetime.timedelta(hours=1))
        ctx.note("woke")
        return "woke"

    on("sleep-long")(hour)

    # Events.

    @on("wait")
    async def wait(ctx):
        await ctx.noted_step("before")
        answer = await ctx.step.wait_for_event(
            "answer",
            event=f"{app}/answer",
            timeout=60 * SECOND,
            if_exp="async.data.to == event.data.marker && async.data.ok == true",
        )
        return {"answer": answer and answer.data, "name": answer and answer.name, "to": ctx.input["marker"]}

    @on("wait-timeout")
    async def wait_timeout(ctx):
        answer = await ctx.step.wait_for_event("answer", event=f"{app}/never", timeout=SECOND)
        ctx.note("gave up")
        return {"answer": answer and answer.name}

    @on("wait-lookback")
    async def wait_lookback(ctx):
        to = ctx.input["marker"]
        await ctx.step.send_event("ask", inngest.Event(name=f"{app}/lookback", data={"to": to, "n": 1}))
        answer = await ctx.step.wait_for_event(
            "answer", event=f"{app}/lookback", timeout=4 * SECOND, if_exp="async.data.to == event.data.marker"
        )
        return {"answer": answer and answer.data["n"]}

    @on("send-event")
    async def send_event(ctx):
        marker = ctx.input["marker"]
        ids = await ctx.step.send_event(
            "emit", [inngest.Event(name=f"{app}/receiver", data={"marker": marker, "n": n}) for n in (1, 2)]
        )
        return {"ids": ids}

    @on("receiver")
    async def receiver(ctx):
        ctx.note("received", {"n": ctx.input["n"], "name": ctx.event.name})
        return ctx.input["n"]

    # Other functions.

    @on("callee")
    async def callee(ctx):
        ctx.note("called", {"event": ctx.event.name})
        return {"doubled": ctx.input.get("n", 0) * 2}

    @on("callee-failing")
    async def callee_failing(ctx):
        raise inngest.NonRetriableError("callee failed")

    @on("callee-slow")
    async def callee_slow(ctx):
        await ctx.noted_step("slow started")
        await ctx.step.sleep("long", datetime.timedelta(hours=1))

    async def invoked(call: typing.Awaitable) -> dict:
        try:
            return {"result": await call}
        except inngest.StepError as error:
            return {"caught": error.message}

    @on("invoke")
    async def invoke(ctx):
        data = {"marker": ctx.input["marker"], "n": ctx.input["n"]}
        return await invoked(ctx.step.invoke("call", function=callee, data=data))

    @on("invoke-failing")
    async def invoke_failing(ctx):
        return await invoked(ctx.step.invoke("call", function=callee_failing, data={}))

    @on("invoke-timeout")
    async def invoke_timeout(ctx):
        return await invoked(ctx.step.invoke("call", function=callee_slow, data={}, timeout=SECOND))

    @on("invoke-unknown")
    async def invoke_unknown(ctx):
        return await invoked(ctx.step.invoke_by_id("call", app_id=app, function_id="nowhere", data={}))

    @on("invoke-slow")
    async def invoke_slow(ctx):
        return await invoked(ctx.step.invoke("call", function=callee_slow, data={"marker": ctx.input["marker"]}))

    # Parallel steps.

    @on("parallel")
    async def parallel(ctx):
        results = await ctx.group.parallel(
            (lambda: ctx.noted_step("p1", 1), lambda: ctx.noted_step("p2", 2), lambda: ctx.noted_step("p3", 3))
        )
        return {"results": results, "sum": await ctx.noted_step("sum", sum(results))}

    @on("parallel-failing", retries=1)
    async def parallel_failing(ctx):
        async def failing():
            async def body():
                ctx.note("bad")
                raise ValueError("parallel boom")

            try:
                return await ctx.step.run("bad", body)
            except inngest.StepError as error:
                return error.message

        return await ctx.group.parallel((lambda: ctx.noted_step("good", 1), failing))

    @on("parallel-chains")
    async def parallel_chains(ctx):
        async def chain(name):
            first = await ctx.noted_step(f"{name}1", 1)
            return await ctx.noted_step(f"{name}2", first + 1)

        return await ctx.group.parallel((lambda: chain("a"), lambda: chain("b")))

    @on("parallel-sleep")
    async def parallel_sleep(ctx):
        _, value = await ctx.group.parallel((lambda: ctx.step.sleep("nap", SECOND), lambda: ctx.noted_step("work", 7)))
        return value

    # Requests made by the server.

    @on("infer")
    async def infer(ctx):
        adapter = ai.openai.Adapter(auth_key="test-key", base_url=f"{self_url}/v1/", model="test-model")
        answer: typing.Any = await ctx.step.ai.infer(
            "ask", adapter=adapter, body={"messages": [{"role": "user", "content": "hi"}]}
        )
        return answer["choices"][0]["message"]["content"]

    # Cancellation and timeouts.

    same_marker = "async.data.marker == event.data.marker"
    on("cancellable", cancel=[inngest.Cancel(event=f"{app}/cancel", if_exp=same_marker)])(hour)
    on("finish-timeout", timeouts=inngest.Timeouts(finish=SECOND))(hour)

    per_marker = [inngest.Concurrency(limit=1, key="event.data.marker")]

    @on("start-timeout", timeouts=inngest.Timeouts(start=SECOND), concurrency=per_marker)
    async def start_timeout(ctx):
        async def hold():
            ctx.note("held")
            await asyncio.sleep(2.5)

        await ctx.step.run("hold", hold)
        return "held"

    # What starts a run.

    async def called(ctx):
        ctx.note("called", ctx.event.name)
        return ctx.event.name

    on("idempotent", idempotency="event.data.key")(called)
    on("wildcard", [inngest.TriggerEvent(event=f"{app}/wild.*")])(called)
    on("filtered", [inngest.TriggerEvent(event=f"{app}/filtered", expression="event.data.total > 10")])(called)
    on("either", [inngest.TriggerEvent(event=f"{app}/first"), inngest.TriggerEvent(event=f"{app}/second")])(called)

    @on("watched")
    async def watched(ctx):
        return {"of": ctx.input["marker"]}

    of_watched = f"event.data.function_id == '{app}-watched'"

    @on("finished", [inngest.TriggerEvent(event="inngest/function.finished", expression=of_watched)])
    async def finished(ctx):
        data = ctx.input
        told = {"result": data.get("result"), "run": data["run_id"], "status": data.get("_inngest", {}).get("status")}
        write({"marker": data["event"]["data"]["marker"], "what": "finished", "data": told})

    # Flow control.

    @on("batched", batch_events=inngest.Batch(max_size=3, timeout=2 * SECOND, key="event.data.marker"))
    async def batched(ctx):
        ctx.note("batch", [event.data["n"] for event in ctx.events])
        return len(ctx.events)

    @on("debounced", debounce=inngest.Debounce(period=SECOND, key="event.data.marker"))
    async def debounced(ctx):
        ctx.note("called", ctx.input["n"])
        return ctx.input["n"]

    minute = 60 * SECOND
    on("rate-limited", rate_limit=inngest.RateLimit(limit=1, period=minute, key="event.data.marker"))(called)
    on("throttled", throttle=inngest.Throttle(limit=1, period=2 * SECOND, key="event.data.marker"))(called)

    @on("one-at-a-time", concurrency=per_marker)
    async def one_at_a_time(ctx):
        async def work():
            ctx.note("enter")
            await asyncio.sleep(0.25)
            ctx.note("leave")

        await ctx.step.run("work", work)

    on("singleton-skip", singleton=inngest.Singleton(mode="skip", key="event.data.marker"))(hour)
    on("singleton-cancel", singleton=inngest.Singleton(mode="cancel", key="event.data.marker"))(hour)

    # Limits.

    @on("large-step", retries=0)
    async def large_step(ctx):
        async def body():
            return "x" * (5 * MEBIBYTE)

        return len(await ctx.step.run("large", body))

    @on("large-result", retries=0)
    async def large_result(ctx):
        return "x" * (9 * MEBIBYTE)

    @on("large-state")
    async def large_state(ctx):
        lengths = []
        for i in range(4):
            lengths.append(len(await ctx.noted_step(f"part {i}", "x" * (3 * MEBIBYTE // 2))))
        return lengths

    return every
