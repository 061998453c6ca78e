// Test app on the TypeScript SDK, version 4.
import { Inngest, NonRetriableError, RetryAfterError, referenceFunction } from "inngest";
import { serve } from "inngest/node";

import { start } from "../app.mjs";

start({
  id: "ts4",
  Inngest,
  NonRetriableError,
  RetryAfterError,
  referenceFunction,
  serve,
  streaming: true,
  define: (client) => (options, triggers, handler) => client.createFunction({ ...options, triggers }, handler),
  race: (group, body) => group.parallel({ mode: "race" }, body),
});
