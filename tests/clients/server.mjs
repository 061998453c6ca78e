// The server under test, and what several tests need of it.
export const server = process.env.INNGEST_TEST_SERVER;
if (!server) throw new Error('INNGEST_TEST_SERVER must name a running `inngest dev`');
export const endpoint = `${server}/graphql`;
export const socket = `${endpoint.replace('http', 'ws')}`;

async function post(path, body) {
  const answer = await fetch(server + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

// Registers an app with one function, started by the event `<name>/go`. Nothing listens at its URL, so its runs stay unfinished.
export async function register(name) {
  const url = `http://127.0.0.1:9/${name}`;
  const runtime = { type: 'http', url: `${url}?fnId=${name}-f&stepId=step` };
  await post('/fn/register', {
    url, deployType: 'ping', framework: 'express', appName: name, sdk: 'js:v4.24.0', v: '0.1',
    functions: [{
      id: `${name}-f`, name: 'F', triggers: [{ event: `${name}/go` }],
      steps: { step: { id: 'step', name: 'step', runtime, retries: { attempts: 1 } } },
    }],
  });
}

export const send = (name) => post('/e/dev', { name, data: {} });
