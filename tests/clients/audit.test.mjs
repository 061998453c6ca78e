// The audits of npm `graphql-http` against the running server. What they found is written down in docs/graphql-http.md, and compared with it
// here; UPDATE_AUDIT=1 writes it again.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import test from 'node:test';
import { serverAudits } from 'graphql-http';
import { endpoint } from './server.mjs';

const page = new URL('../../docs/graphql-http.md', import.meta.url);
const begin = '<!-- audits: written by the tests -->\n';

test('every MUST of GraphQL over HTTP holds, and the page says what came of the rest', async () => {
  const audits = serverAudits({ url: endpoint, fetchFn: fetch });
  const rows = [];
  for (const audit of audits) {
    const result = await audit.fn();
    rows.push({ id: audit.id, name: audit.name, status: result.status, reason: result.reason ?? '' });
  }
  const failed = rows.filter((row) => row.status === 'error' || (row.status !== 'ok' && row.name.startsWith('MUST')));
  assert.deepEqual(failed, []);
  const outcome = (row) => (row.status === 'ok' ? 'yes' : 'no');
  const table = ['| audit | rule | holds |', '|---|---|---|']
    .concat(rows.map((row) => `| ${row.id} | ${row.name.replaceAll('|', '\\|')} | ${outcome(row)} |`))
    .join('\n');
  const text = readFileSync(page, 'utf8');
  const [words] = text.split(begin);
  const written = `${words}${begin}${table}\n`;
  if (process.env.UPDATE_AUDIT) writeFileSync(page, written);
  else assert.equal(text, written, 'docs/graphql-http.md is stale; run this with UPDATE_AUDIT=1');
  // Each rule that does not hold is explained above the table, by its audit.
  for (const row of rows.filter((row) => row.status !== 'ok')) {
    assert.ok(words.includes(row.id), `${row.id} (${row.name}) is not explained: ${row.reason}`);
  }
});
