// The HTTP side of a TypeScript test app: the SDK's endpoint, the journal, and things for the server to call.
//
//   PORT         port to listen on (loopback)
//   INNGEST_DEV  address of the server, read by the SDK itself
//   APP_ID       id of the app; the SDK's directory name by default
//   ONLY         comma-separated function ids, to register fewer functions
import { createServer } from "node:http";

import { functions } from "./functions.mjs";
import { read } from "./journal.mjs";

/** Starts the app. `sdk` is what `functions` needs, plus `Inngest` and `serve`. */
export function start(sdk) {
  const port = Number(process.env.PORT);
  const self = `http://127.0.0.1:${port}`;
  const only = process.env.ONLY?.split(",");

  /** One SDK endpoint; an app may be served twice under different ids. */
  const endpoint = (app, options, chosen) => {
    const client = new sdk.Inngest({ id: app });
    const define = sdk.define(client);
    const all = functions({ ...sdk, app, define }, self);
    const served = chosen ? all.filter((fn) => chosen.includes(fn.id())) : all;
    return sdk.serve({ client, functions: served, ...options });
  };
  const id = process.env.APP_ID ?? sdk.id;
  const handlers = {
    "/api/inngest": endpoint(id, {}, only),
    "/api/stream": endpoint(`${id}-stream`, { servePath: "/api/stream", streaming: sdk.streaming }, ["echo", "steps", "flaky", "step-caught"]),
  };

  const reply = (res, status, body) => {
    res.writeHead(status, { "content-type": "application/json" });
    res.end(JSON.stringify(body));
  };
  const text = async (req) => {
    const chunks = [];
    for await (const chunk of req) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };

  createServer(async (req, res) => {
    const url = new URL(req.url, self);
    const handler = handlers[url.pathname];
    if (handler) return handler(req, res);
    switch (url.pathname) {
      case "/journal":
        return reply(res, 200, read(url.searchParams.get("marker")));
      case "/echo":
        return reply(res, 202, { method: req.method, header: req.headers["x-test"], body: await text(req), query: url.search });
      case "/v1/chat/completions": {
        const asked = JSON.parse(await text(req));
        const content = `${asked.model}: ${asked.messages[0].content}; ${req.headers.authorization}`;
        return reply(res, 200, { choices: [{ message: { role: "assistant", content } }] });
      }
      default:
        return reply(res, 404, { error: "no such page" });
    }
  }).listen(port, "127.0.0.1");
}
