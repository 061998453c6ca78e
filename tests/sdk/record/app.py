"""The app whose messages record.mjs records, Python SDK."""

import datetime
import os

import fastapi
import inngest
import inngest.fast_api
import uvicorn
from inngest.experimental import ai

UTC = datetime.timezone.utc
client = inngest.Inngest(app_id="shop", app_version="2026-08-01")
functions = []


def simple(fn_id, handler, **options):
    options.setdefault("retries", 1)
    fn = client.create_function(fn_id=fn_id, trigger=inngest.TriggerEvent(event="shop/go"), **options)(handler)
    functions.append(fn)
    return fn


async def failed(ctx):
    return "handled"


async def constant(ctx):
    return "all"


functions.append(
    client.create_function(
        fn_id="all-fields",
        name="Every field",
        retries=7,
        concurrency=[
            inngest.Concurrency(limit=5, key="event.data.user", scope="fn"),
            inngest.Concurrency(limit=50, key='"shop"', scope="account"),
        ],
        idempotency="event.data.order",
        rate_limit=inngest.RateLimit(limit=10, period=datetime.timedelta(hours=1), key="event.data.user"),
        throttle=inngest.Throttle(limit=10, period=datetime.timedelta(minutes=1), burst=2, key="event.data.user"),
        debounce=inngest.Debounce(period=datetime.timedelta(seconds=5), timeout=datetime.timedelta(minutes=1), key="event.data.user"),
        priority=inngest.Priority(run="event.data.vip ? 120 : 0"),
        timeouts=inngest.Timeouts(start=datetime.timedelta(minutes=10), finish=datetime.timedelta(hours=26)),
        singleton=inngest.Singleton(key="event.data.user", mode="cancel"),
        cancel=[inngest.Cancel(event="shop/cancelled", if_exp="async.data.id == event.data.id", timeout=datetime.timedelta(hours=1))],
        on_failure=failed,
        trigger=[
            inngest.TriggerEvent(event="shop/paid", expression="event.data.total > 10"),
            inngest.TriggerEvent(event="shop/paid.*"),
            inngest.TriggerCron(cron="TZ=Europe/Paris 0 9 * * 1-5"),
        ],
    )(constant)
)
functions.append(
    client.create_function(
        fn_id="batched",
        batch_events=inngest.Batch(max_size=3, timeout=datetime.timedelta(seconds=10), key="event.data.user"),
        trigger=inngest.TriggerEvent(event="shop/batch"),
    )(constant)
)


async def result(ctx):
    return {"ok": True}


async def result_null(ctx):
    return None


async def throw(ctx):
    raise TypeError("boom")


async def non_retriable(ctx):
    raise inngest.NonRetriableError("stop")


async def retry_after_number(ctx):
    raise inngest.RetryAfterError("later", 30_000)


async def retry_after_date(ctx):
    raise inngest.RetryAfterError("later", datetime.datetime(2026, 8, 1, 9, tzinfo=UTC))


async def bad():
    raise TypeError("step boom")


async def never():
    raise inngest.NonRetriableError("never")


async def step_run(ctx):
    async def a():
        return {"v": 1}

    async def b():
        return 2

    await ctx.step.run("a", a)
    return {"b": await ctx.step.run("b", b)}


async def step_error(ctx):
    try:
        await ctx.step.run("bad", bad)
    except inngest.StepError as e:
        return {"caught": e.message}


async def step_uncaught(ctx):
    await ctx.step.run("bad", bad)


async def step_non_retriable(ctx):
    await ctx.step.run("bad", never)


async def sleep(ctx):
    await ctx.step.sleep("nap", datetime.timedelta(hours=2))
    return "rested"


async def sleep_until(ctx):
    await ctx.step.sleep_until("dawn", datetime.datetime(2026, 8, 2, 6, tzinfo=UTC))
    return "up"


async def wait(ctx):
    e = await ctx.step.wait_for_event("paid", event="shop/paid", timeout=datetime.timedelta(hours=1), if_exp="async.data.id == event.data.id")
    return e.data if e else "timeout"


async def target(ctx):
    return "target"


async def invoke(ctx):
    return await ctx.step.invoke("call", function=target_fn, data={"n": 1}, timeout=datetime.timedelta(hours=1))


async def invoke_by_id(ctx):
    return await ctx.step.invoke_by_id("call", app_id="shop", function_id="target")


async def send_event(ctx):
    return await ctx.step.send_event("emit", [inngest.Event(name="shop/sent", data={"n": 1}), inngest.Event(name="shop/sent", id="my-id", data={"n": 2})])


async def parallel(ctx):
    async def one():
        return 1

    async def two():
        return 2

    return await ctx.group.parallel((lambda: ctx.step.run("p1", one), lambda: ctx.step.run("p2", two), lambda: ctx.step.sleep("p3", 3_600_000)))


async def parallel_race(ctx):
    async def one():
        return 1

    async def two():
        return 2

    return await ctx.group.parallel((lambda: ctx.step.run("p1", one), lambda: ctx.step.run("p2", two)), parallel_mode=inngest.ParallelMode.RACE)


async def ai_infer(ctx):
    adapter = ai.openai.Adapter(auth_key="test-key", base_url="http://127.0.0.1:9/v1/", model="gpt-4o")
    return await ctx.step.ai.infer("ask", adapter=adapter, body={"messages": [{"role": "user", "content": "hi"}]})


target_fn = simple("target", target)
for name, handler in [
    ("result", result),
    ("result-null", result_null),
    ("throw", throw),
    ("non-retriable", non_retriable),
    ("retry-after-number", retry_after_number),
    ("retry-after-date", retry_after_date),
    ("step-run", step_run),
    ("step-error", step_error),
    ("step-uncaught", step_uncaught),
    ("step-non-retriable", step_non_retriable),
    ("sleep", sleep),
    ("sleep-until", sleep_until),
    ("wait", wait),
    ("invoke", invoke),
    ("invoke-reference", invoke_by_id),
    ("send-event", send_event),
    ("parallel", parallel),
    ("parallel-race", parallel_race),
    ("ai-infer", ai_infer),
]:
    simple(name, handler)

app = fastapi.FastAPI()
streaming = inngest.Streaming.FORCE if os.environ.get("STREAM") else inngest.Streaming.DISABLE
inngest.fast_api.serve(app, client, functions, streaming=streaming)


@app.get("/send")
async def send():
    return await client.send(
        [
            inngest.Event(name="shop/one", data={"n": 1}),
            inngest.Event(name="shop/two", id="two", ts=1785570000000, data={}, user={"id": 7}),
        ]
    )


uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
