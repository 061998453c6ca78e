// npm `graphql-ws` and `urql` against the running server: queries, mutations, and subscriptions that see a change.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Client, fetchExchange, subscriptionExchange } from '@urql/core';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { endpoint, register, send, socket } from './server.mjs';

const environment = '{ environment { id slug } server { mode } }';
const feed = `subscription ($environmentId: ID!, $after: String) {
  runFeed(environmentId: $environmentId, after: $after) { kind cursor run { runId status function { slug } } }
}`;
const connect = () => createClient({ url: socket, webSocketImpl: WebSocket, retryAttempts: 0 });

async function first(client, payload) {
  for await (const result of client.iterate(payload)) return result;
}

test('graphql-ws asks, is refused, and watches a run begin', async () => {
  const client = connect();
  const { data } = await first(client, { query: environment });
  assert.equal(data.environment.slug, 'dev');
  await assert.rejects(first(client, { query: '{ nonsense }' }), (errors) => errors[0].extensions.code === 'GRAPHQL_VALIDATION_FAILED');

  await register('sockets');
  let cursor;
  const variables = { environmentId: data.environment.id };
  for await (const { data: { runFeed } } of client.iterate({ query: feed, variables })) {
    cursor = runFeed.cursor;
    if (runFeed.kind === 'READY') await send('sockets/go');
    if (runFeed.run?.function.slug === 'sockets-f') break;
  }
  await client.dispose();

  // Another connection goes on from there.
  const again = connect();
  const resumed = again.iterate({ query: feed, variables: { ...variables, after: cursor } });
  await send('sockets/go');
  for await (const { data: { runFeed } } of resumed) {
    if (runFeed.run?.function.slug === 'sockets-f') break;
  }
  await again.dispose();
});

test('urql asks, changes and watches', async () => {
  await register('urql');
  const ws = connect();
  const client = new Client({
    url: endpoint,
    preferGetMethod: false,
    exchanges: [
      subscriptionExchange({
        forwardSubscription: ({ query, variables }) => ({
          subscribe: (sink) => ({ unsubscribe: ws.subscribe({ query, variables }, sink) }),
        }),
      }),
      fetchExchange,
    ],
  });
  const { data, error } = await client.query(environment, {}).toPromise();
  assert.equal(error, undefined);
  const environmentId = data.environment.id;

  const seen = new Promise((resolve) => {
    const { unsubscribe } = client.subscription(feed, { environmentId }).subscribe(async ({ data }) => {
      if (data?.runFeed.kind === 'READY') await sendEvent();
      if (data?.runFeed.run?.function.slug === 'urql-f') {
        unsubscribe();
        resolve(data.runFeed.run.runId);
      }
    });
  });
  async function sendEvent() {
    const sent = await client
      .mutation(`mutation ($input: SendEventsInput!) { sendEvents(input: $input) { eventIds errors { code } } }`, {
        input: { environmentId, events: [{ name: 'urql/go', data: { n: 1 } }] },
      })
      .toPromise();
    assert.deepEqual(sent.data.sendEvents.errors, []);
  }
  const run = await seen;
  const found = await client.query('query ($id: ID!) { run(id: $id) { runId input } }', { id: run }).toPromise();
  assert.deepEqual(found.data.run, { runId: run, input: { n: 1 } });
  const failed = await client.query('query ($id: ID!) { run(id: $id) { runId } }', { id: 'nonsense' }).toPromise();
  assert.equal(failed.error.graphQLErrors[0].extensions.code, 'BAD_USER_INPUT');
  await ws.dispose();
});
