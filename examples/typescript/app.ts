// A small shop: takes the money, packs, waits until the parcel is scanned, and tells somebody when it goes wrong.
//
//   npm install && npm start                                  the app, on port 3000
//   inngest dev -u http://localhost:3000/api/inngest          the server
//
//   curl localhost:8288/e/key -d '{"name":"shop/order.placed","data":{"orderId":"o-1","total":20}}'
//   curl localhost:8288/e/key -d '{"name":"shop/parcel.scanned","data":{"orderId":"o-1"}}'
import { createServer } from "node:http";

import { Inngest, NonRetriableError } from "inngest";
import { serve } from "inngest/node";

// Without INNGEST_DEV, the SDK would look for the hosted service; "1" means a server on this machine.
process.env.INNGEST_DEV ??= "1";

const inngest = new Inngest({ id: "shop" });

const fulfilOrder = inngest.createFunction(
  {
    id: "fulfil-order",
    triggers: [{ event: "shop/order.placed" }],
    onFailure: async ({ event, error, step }) => {
      // Runs once, when the function has failed for good.
      const order = event.data.event.data.orderId;
      return await step.run("apologize", () => `order ${order} failed: ${error.message}`);
    },
  },
  async ({ event, step }) => {
    const { orderId, total } = event.data;

    // A step runs once; its result is remembered, whatever happens after it.
    const payment = await step.run("charge", () => {
      if (total > 1000) throw new NonRetriableError("card declined");
      return `payment-${orderId}`;
    });

    // The process may restart while a run sleeps or waits.
    await step.sleep("pack", "2s");

    const scan = await step.waitForEvent("parcel-scanned", {
      event: "shop/parcel.scanned",
      match: "data.orderId",
      timeout: "1d",
    });
    return { payment, status: scan ? "shipped" : "lost" };
  },
);

const port = Number(process.env.PORT ?? 3000);
createServer(serve({ client: inngest, functions: [fulfilOrder] })).listen(port, "127.0.0.1", () => {
  console.log(`shop listens on http://localhost:${port}/api/inngest`);
});
