// The other side of a custom resource: the address that AWS CloudFormation wants its answer put to, and the
// requests that it sends.

import { createServer } from 'node:http';

/**
 * Takes answers as Amazon S3 does behind a signed address: PUT only, and with no content type, because the
 * signature has none. `refuse` makes it refuse the next so many answers.
 */
export async function cloudFormation() {
  const answers = [];
  const state = { refuse: 0 };
  const server = createServer(async (request, response) => {
    const body = await text(request);
    const status = request.method !== 'PUT' || request.headers['content-type'] ? 403 : state.refuse-- > 0 ? 500 : 200;
    if (status === 200) answers.push(JSON.parse(body));
    response.writeHead(status).end();
  });
  const address = await listen(server);
  return {
    answers,
    /** Makes it refuse the next so many answers. */
    refuse: (times) => { state.refuse = times; },
    close: () => new Promise((done) => server.close(done)),
    /** A request of this type, as CloudFormation would send it. */
    request: (RequestType, ResourceProperties, more = {}) => ({
      RequestType,
      ResponseURL: `${address}/answer?signature=secret-signature`,
      StackId: 'arn:aws:cloudformation:us-east-1:111122223333:stack/test/1',
      RequestId: `request-${answers.length + 1}`,
      LogicalResourceId: 'Thing',
      ResourceType: 'Custom::Thing',
      ResourceProperties: { ServiceToken: 'arn', ...ResourceProperties },
      ...more,
    }),
  };
}

/** What the runtime tells a function about its call. */
export function contextOf(leftMs = 60_000) {
  return { getRemainingTimeInMillis: () => leftMs };
}

export async function listen(server) {
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  return `http://127.0.0.1:${server.address().port}`;
}

export async function text(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString('utf8');
}

/** Collects what is written to the console while `work` runs. */
export async function loggedBy(work) {
  const lines = [];
  const kept = { log: console.log, error: console.error, warn: console.warn };
  for (const level of Object.keys(kept)) console[level] = (...parts) => lines.push(parts.map(String).join(' '));
  try {
    await work();
  } finally {
    Object.assign(console, kept);
  }
  return lines.join('\n');
}
