"""A small shop: takes the money, packs, waits until the parcel is scanned, and tells somebody when it goes wrong.

    python -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/python app.py                                     the app, on port 8000
    inngest dev -u http://localhost:8000/api/inngest            the server

    curl localhost:8288/e/key -d '{"name":"shop/order.placed","data":{"orderId":"o-1","total":20}}'
    curl localhost:8288/e/key -d '{"name":"shop/parcel.scanned","data":{"orderId":"o-1"}}'
"""

import datetime
import os

import fastapi
import inngest
import inngest.fast_api
import uvicorn

# Without INNGEST_DEV, the SDK would look for the hosted service; "1" means a server on this machine.
os.environ.setdefault("INNGEST_DEV", "1")

client = inngest.Inngest(app_id="shop-python")


async def apologize(ctx: inngest.Context) -> str:
    """Runs once, when the function has failed for good."""
    order = ctx.event.data["event"]["data"]["orderId"]
    return f"order {order} failed: {ctx.event.data['error']['message']}"


@client.create_function(
    fn_id="fulfil-order",
    trigger=inngest.TriggerEvent(event="shop/order.placed"),
    on_failure=apologize,
)
async def fulfil_order(ctx: inngest.Context) -> dict[str, str]:
    order = ctx.event.data["orderId"]

    async def charge() -> str:
        if ctx.event.data["total"] > 1000:
            raise inngest.NonRetriableError("card declined")
        return f"payment-{order}"

    # A step runs once; its result is remembered, whatever happens after it.
    payment = await ctx.step.run("charge", charge)

    # The process may restart while a run sleeps or waits.
    await ctx.step.sleep("pack", datetime.timedelta(seconds=2))

    scan = await ctx.step.wait_for_event(
        "parcel-scanned",
        event="shop/parcel.scanned",
        if_exp="async.data.orderId == event.data.orderId",
        timeout=datetime.timedelta(days=1),
    )
    return {"payment": payment, "status": "shipped" if scan else "lost"}


app = fastapi.FastAPI()
inngest.fast_api.serve(app, client, [fulfil_order])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
