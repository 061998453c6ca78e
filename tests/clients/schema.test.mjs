// graphql-js reads schema.graphql, and tells what a client of the last release would miss (section "Changing the API" of docs/graphql-http.md).
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';
import { buildClientSchema, buildSchema, findBreakingChanges, findDangerousChanges, getIntrospectionQuery, lexicographicSortSchema, parse, printSchema, validate } from 'graphql';
import { endpoint } from './server.mjs';

const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8');
const schema = buildSchema(read('../../schema.graphql'));

test('introspection of the running server gives schema.graphql', async () => {
  const answer = await fetch(endpoint, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query: getIntrospectionQuery({ oneOf: true }) }),
  });
  const { data } = await answer.json();
  const print = (schema) => printSchema(lexicographicSortSchema(schema));
  assert.equal(print(buildClientSchema(data)), print(schema));
});

test('documents of the command line fit the schema', () => {
  const directory = '../../crates/inngest-cli/src/client/documents/';
  const files = readdirSync(new URL(directory, import.meta.url));
  assert.ok(files.length > 10);
  for (const file of files) {
    assert.deepEqual(validate(schema, parse(read(directory + file))), [], file);
  }
});

test('nothing that a client of the last release uses is gone, unless that is declared', () => {
  const released = buildSchema(read('released.graphql'));
  const breaking = findBreakingChanges(released, schema).map((change) => change.description);
  const declared = read('../../schema-breaking.md')
    .split('\n')
    .filter((line) => line.startsWith('* '))
    .map((line) => line.slice(2).trim());
  const undeclared = breaking.filter((change) => !declared.includes(change));
  assert.deepEqual(undeclared, [], 'deprecate first, or declare the change in schema-breaking.md');
  const vain = declared.filter((change) => !breaking.includes(change));
  assert.deepEqual(vain, [], 'schema-breaking.md declares what is no breaking change');
});

test('a removed field would be noticed', () => {
  const before = buildSchema('type Query { a: Int b: Int }');
  const after = buildSchema('type Query { a: Int }');
  assert.deepEqual(findBreakingChanges(before, after).map((change) => change.description), ['Query.b was removed.']);
  assert.deepEqual(findDangerousChanges(before, after), []);
});
