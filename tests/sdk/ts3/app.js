// Test app on the TypeScript SDK, version 3.
import { Inngest, NonRetriableError, RetryAfterError, referenceFunction } from "inngest";
import { serve } from "inngest/node";

import { start } from "../app.mjs";

start({
  id: "ts3",
  Inngest,
  NonRetriableError,
  RetryAfterError,
  referenceFunction,
  serve,
  streaming: "force",
  define: (client) => (options, triggers, handler) => client.createFunction(options, triggers, handler),
  race: (_group, body) => body(),
});
