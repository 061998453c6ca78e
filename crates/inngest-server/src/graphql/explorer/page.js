const $ = (id) => document.getElementById(id);
const DAY = new Date(Date.now() - 86400000).toISOString();
const EXAMPLES = {
  "Latest runs": [`query LatestRuns($since: DateTime!) {
  environment {
    runs(first: 20, filter: { time: { from: $since } }) {
      nodes {
        id
        status
        activity
        queuedAt
        durationMs
        function { slug }
        steps(first: 20) { nodes { name kind status attemptCount } }
      }
      totalCount { value isExact }
    }
  }
}`, { since: DAY }],
  "Functions and their triggers": [`{
  environment {
    functions {
      nodes {
        slug
        app { externalId url lastError }
        triggers {
          ... on EventTrigger { eventName expression }
          ... on CronTrigger { schedule nextAt }
        }
      }
    }
  }
}`, {}],
  "Send an event": [`mutation Send($input: SendEventsInput!) {
  sendEvents(input: $input) {
    eventIds
    errors { code message path }
  }
}`, { input: { environmentId: "env_00000000-0000-4000-b000-000000000000", events: [{ name: "demo/hello", data: { n: 1 } }] } }],
  "Watch all runs": [`subscription Watch($env: ID!) {
  runFeed(environmentId: $env) {
    kind
    run { id status function { slug } }
    removedId
  }
}`, { env: "env_00000000-0000-4000-b000-000000000000" }],
  "Watch one run": [`subscription WatchRun($id: ID!) {
  runUpdated(runId: $id) {
    kind
    run { status output error { message } steps { nodes { name status } } }
  }
}`, { id: "" }],
};

// ---- editor
const escape = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
const paintWith = (text, pattern, kind) => {
  let out = "", last = 0;
  for (const found of text.matchAll(pattern)) {
    out += escape(text.slice(last, found.index)) + `<span class="${kind(found)}">${escape(found[0])}</span>`;
    last = found.index + found[0].length;
  }
  return out + escape(text.slice(last));
};
const GRAPHQL = /(#[^\n]*)|("""[\s\S]*?"""|"(?:\\.|[^"\\\n])*")|(\b(?:query|mutation|subscription|fragment|on|true|false|null)\b)|(\$\w+|@\w+)|(-?\b\d[\d.eE+-]*\b)|([A-Za-z_]\w*(?=\s*:))/g;
const JSONISH = /("(?:\\.|[^"\\])*"(?=\s*:))|("(?:\\.|[^"\\])*")|(\b(?:true|false|null)\b)|(-?\b\d[\d.eE+-]*)/g;
const pick = (...kinds) => (found) => kinds[found.slice(1).findIndex((part) => part !== undefined)];
const repaint = () => {
  $("paint").innerHTML = paintWith($("query").value, GRAPHQL, pick("c", "s", "w", "d", "d", "n")) + "\n";
  localStorage.setItem("graphql.query", $("query").value);
  localStorage.setItem("graphql.variables", $("variables").value);
};
$("query").addEventListener("input", repaint);
$("variables").addEventListener("input", repaint);
$("query").addEventListener("scroll", () => { $("paint").scrollTop = $("query").scrollTop; $("paint").scrollLeft = $("query").scrollLeft; });
$("query").addEventListener("keydown", (event) => {
  const area = event.target, at = area.selectionStart;
  const put = (text) => { event.preventDefault(); area.setRangeText(text, at, area.selectionEnd, "end"); repaint(); };
  if (event.key === "Tab" && !event.shiftKey) put("  ");
  if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
    const line = area.value.slice(area.value.lastIndexOf("\n", at - 1) + 1, at);
    put("\n" + line.match(/^ */)[0] + (/[{([]\s*$/.test(line) ? "  " : ""));
  }
});

// ---- results
const show = (value, clear) => {
  const box = document.createElement("div"), stamp = document.createElement("time"), text = document.createElement("pre");
  stamp.textContent = clear ? "" : new Date().toLocaleTimeString();
  text.innerHTML = paintWith(typeof value === "string" ? value : JSON.stringify(value, null, 2), JSONISH, pick("n", "s", "w", "d"));
  box.append(stamp, text);
  if (clear) $("result").replaceChildren(box);
  else { $("result").prepend(box); while ($("result").childElementCount > 200) $("result").lastChild.remove(); }
};
const say = (text, bad) => { $("state").textContent = text; $("state").classList.toggle("bad", !!bad); };
const authorization = () => { const token = $("token").value.trim(); return token ? "Bearer " + token.replace(/^Bearer\s+/i, "") : undefined; };
const post = async (query, variables) => {
  const headers = { "content-type": "application/json", accept: "application/graphql-response+json, application/json" };
  if (authorization()) headers.authorization = authorization();
  const answer = await fetch("/graphql", { method: "POST", headers, body: JSON.stringify({ query, variables }) });
  return [answer.status, await answer.json()];
};

let socket = null;
const stop = (why) => {
  if (socket) { const old = socket; socket = null; old.onclose = null; old.close(1000); }
  $("run").textContent = "Run";
  if (why) say(why);
};
const subscribe = (query, variables) => {
  $("result").replaceChildren();
  socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/graphql", "graphql-transport-ws");
  $("run").textContent = "Stop";
  say("Connecting …");
  const send = (message) => socket && socket.send(JSON.stringify(message));
  let count = 0;
  socket.onopen = () => send({ type: "connection_init", payload: { authorization: authorization() } });
  socket.onclose = (event) => { socket = null; $("run").textContent = "Run"; say(`Closed: ${event.reason || event.code}`, true); };
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === "connection_ack") { send({ type: "subscribe", id: "1", payload: { query, variables } }); say("Listening"); }
    if (message.type === "ping") send({ type: "pong" });
    if (message.type === "next") { show(message.payload); say(`Listening, ${++count} messages`); }
    if (message.type === "error") { show({ errors: message.payload }, true); stop("Refused"); }
    if (message.type === "complete") stop(`Complete after ${count} messages`);
  };
};
const run = async () => {
  if (socket) return stop("Stopped");
  const query = $("query").value;
  let variables = {};
  try { variables = $("variables").value.trim() ? JSON.parse($("variables").value) : {}; }
  catch (error) { return say("The variables are not JSON: " + error.message, true); }
  if (/^\s*(#[^\n]*\n\s*)*subscription\b/.test(query)) return subscribe(query, variables);
  say("Running …");
  const begun = performance.now();
  try {
    const [status, body] = await post(query, variables);
    show(body, true);
    say(`${status} in ${Math.round(performance.now() - begun)} ms`, status !== 200 || body.errors);
  } catch (error) { say("The server did not answer: " + error.message, true); }
};
$("run").addEventListener("click", run);
document.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); } });

// ---- schema
const INTROSPECTION = `{ __schema { queryType { name } mutationType { name } subscriptionType { name } types { kind name description
  fields { name description args { name description type { ...T } } type { ...T } } inputFields { name description type { ...T } }
  enumValues { name description } possibleTypes { name } interfaces { name } } } }
  fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }`;
let types = null, roots = [];
const load = async () => {
  const [, body] = await post(INTROSPECTION, {});
  if (!body.data) throw new Error(body.errors?.[0]?.message ?? "no schema");
  const schema = body.data.__schema;
  types = new Map(schema.types.filter((type) => !type.name.startsWith("__")).map((type) => [type.name, type]));
  roots = [schema.queryType, schema.mutationType, schema.subscriptionType].filter(Boolean).map((type) => type.name);
};
const element = (name, text, kind) => { const made = document.createElement(name); if (text) made.textContent = text; if (kind) made.className = kind; return made; };
const named = (type) => type.name ?? named(type.ofType);
const written = (type) => type.kind === "NON_NULL" ? written(type.ofType) + "!" : type.kind === "LIST" ? `[${written(type.ofType)}]` : type.name;
const link = (name, text) => { const made = element("a", text ?? name); made.tabIndex = 0; made.onclick = () => open(name); made.onkeydown = (event) => event.key === "Enter" && open(name); return made; };
const field = (of) => {
  const box = element("div", "", "field"), head = element("code", of.name);
  if (of.args?.length) {
    head.append("(");
    of.args.forEach((argument, index) => head.append(index ? ", " : "", argument.name + ": ", link(named(argument.type), written(argument.type))));
    head.append(")");
  }
  if (of.type) head.append(": ", link(named(of.type), written(of.type)));
  box.append(head, element("p", of.description));
  return box;
};
const list = (title, entries, draw) => entries?.length ? [element("h3", title), ...entries.map(draw)] : [];
const open = (name) => {
  const type = types.get(name), docs = $("docs");
  $("search").value = "";
  const home = element("a", "Schema");
  home.onclick = overview;
  $("trail").replaceChildren(home, " › " + (name ?? ""));
  if (!type) return docs.replaceChildren(element("p", "A built-in scalar."));
  docs.replaceChildren(element("h2", type.name), element("p", type.description),
    ...list("Implements", type.interfaces, (other) => link(other.name)), ...list("One of", type.possibleTypes, (other) => { const row = element("div"); row.append(link(other.name)); return row; }),
    ...list("Fields", type.fields, field), ...list("Fields", type.inputFields, field), ...list("Values", type.enumValues, field));
};
const overview = () => {
  $("trail").replaceChildren("Schema");
  const rest = [...types.keys()].filter((name) => !roots.includes(name)).sort();
  const row = (name) => { const made = element("div"); made.append(link(name)); return made; };
  $("docs").replaceChildren(...list("Operations", roots, row), ...list("Types", rest, row));
};
$("search").addEventListener("input", () => {
  const text = $("search").value.trim().toLowerCase();
  if (!types) return;
  if (!text) return overview();
  const hits = [];
  for (const type of types.values()) {
    if (type.name.toLowerCase().includes(text)) hits.push([type.name, type.name]);
    for (const of of type.fields ?? type.inputFields ?? []) if (of.name.toLowerCase().includes(text)) hits.push([type.name, `${type.name}.${of.name}`]);
  }
  $("docs").replaceChildren(...hits.slice(0, 100).map(([name, label]) => { const row = element("div"); row.append(link(name, label)); return row; }));
});
$("toggle").addEventListener("click", async () => {
  $("schema").hidden = !$("schema").hidden;
  if ($("schema").hidden || types) return;
  try { await load(); overview(); } catch (error) { $("docs").replaceChildren(element("p", error.message)); }
});

// ---- start
$("examples").append(new Option("Examples …", ""), ...Object.keys(EXAMPLES).map((name) => new Option(name, name)));
$("examples").addEventListener("change", (event) => {
  const [query, variables] = EXAMPLES[event.target.value] ?? [];
  event.target.value = "";
  if (query === undefined) return;
  $("query").value = query;
  $("variables").value = JSON.stringify(variables, null, 2);
  repaint();
});
$("query").value = localStorage.getItem("graphql.query") ?? EXAMPLES["Latest runs"][0];
$("variables").value = localStorage.getItem("graphql.variables") ?? JSON.stringify(EXAMPLES["Latest runs"][1], null, 2);
repaint();
