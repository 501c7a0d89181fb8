// The function that makes the SMTP credentials of component `ses`, against an IAM and a Secrets Manager in memory.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';

import { cloudFormation, contextOf, loggedBy } from './custom-resource.mjs';
import { handlerOf } from './load.mjs';

const TEMPLATE = new URL('../../components/ses/smtp.cfn.yaml', import.meta.url);
const PROPERTIES = { UserName: 'mailer', SecretArn: 'arn:secret', KeyGeneration: '1', Region: 'eu-central-1' };

let stack;
let world;
before(async () => { stack = await cloudFormation(); });
after(() => stack.close());
beforeEach(() => {
  stack.answers.length = 0;
  world = new World();
});

test('makes a key and writes what programs need into the secret', async () => {
  const logged = await loggedBy(() => world.call(stack.request('Create', PROPERTIES)));

  const [answer] = stack.answers;
  assert.equal(answer.Status, 'SUCCESS');
  assert.equal(answer.PhysicalResourceId, 'AKIAKEY0000000000001');
  assert.deepEqual(world.keys, ['AKIAKEY0000000000001']);
  assert.deepEqual(Object.keys(world.secret), ['host', 'port', 'username', 'password']);
  assert.equal(world.secret.host, 'email-smtp.eu-central-1.amazonaws.com');
  assert.equal(world.secret.username, 'AKIAKEY0000000000001');
  for (const secret of ['some+secret+key', world.secret.password, 'secret-signature']) {
    assert.ok(!logged.includes(secret), 'nothing secret is logged');
    assert.ok(!JSON.stringify(answer).includes(secret), 'nothing secret is answered');
  }
});

// Known pairs of a secret access key and its SMTP password, which a provider for Terraform is tested with as well.
for (const [region, secret, password] of [
  ['eu-central-1', 'some+secret+key', 'BMXhUYlu5Z3gSXVQORxlVa7XPaz91aGWdfHxvkOZdWZ2'],
  ['eu-central-1', 'another+secret+key', 'BBbphbrQmrKMx42d1N6+C7VINYEBGI5v9VsZeTxwskfh'],
  ['us-west-1', 'some+secret+key', 'BH+jbMzper5WwlwUar9E1ySBqHa9whi0GPo+sJ0mVYJj'],
]) {
  test(`works out the password of ${secret} in ${region}`, async () => {
    world = new World(secret);
    await world.call(stack.request('Create', { ...PROPERTIES, Region: region }));
    assert.equal(world.secret.password, password);
  });
}

test('a creation whose answer was lost leaves one key and a secret that fits it', async () => {
  const request = stack.request('Create', PROPERTIES);
  stack.refuse(3);
  await assert.rejects(world.call(request), /refused with 500/);
  assert.equal(stack.answers.length, 0);

  await world.call(request);

  assert.equal(stack.answers[0].Status, 'SUCCESS');
  assert.deepEqual(world.keys, [stack.answers[0].PhysicalResourceId]);
  assert.equal(world.secret.username, stack.answers[0].PhysicalResourceId);
});

test('a new generation makes a second key, and the old one goes when CloudFormation clears up', async () => {
  await world.call(stack.request('Create', PROPERTIES));
  const old = stack.answers[0].PhysicalResourceId;

  const newer = { ...PROPERTIES, KeyGeneration: '2' };
  await world.call(stack.request('Update', newer, { OldResourceProperties: PROPERTIES, PhysicalResourceId: old }));
  const made = stack.answers[1].PhysicalResourceId;
  assert.notEqual(made, old);
  assert.deepEqual(world.keys, [old, made]);
  assert.equal(world.secret.username, made);

  await world.call(stack.request('Delete', PROPERTIES, { PhysicalResourceId: old }));
  assert.deepEqual(world.keys, [made]);
});

test('a change that is none keeps the key', async () => {
  await world.call(stack.request('Create', PROPERTIES));
  const id = stack.answers[0].PhysicalResourceId;
  await world.call(stack.request('Update', PROPERTIES, { OldResourceProperties: PROPERTIES, PhysicalResourceId: id }));
  assert.equal(stack.answers[1].PhysicalResourceId, id);
  assert.deepEqual(world.keys, [id]);
});

test('a second key of a change that was cut short does not stand in the way', async () => {
  await world.call(stack.request('Create', PROPERTIES));
  const id = stack.answers[0].PhysicalResourceId;
  world.keys.push('AKIALOST000000000000');
  const newer = { ...PROPERTIES, KeyGeneration: '2' };
  await world.call(stack.request('Update', newer, { OldResourceProperties: PROPERTIES, PhysicalResourceId: id }));
  assert.equal(stack.answers[1].Status, 'SUCCESS');
  assert.deepEqual(world.keys, [id, stack.answers[1].PhysicalResourceId]);
});

test('a secret that cannot be written takes the new key back, and says why', async () => {
  world.refuse = { PutSecretValue: failure('AccessDeniedException', 'no right to write the secret') };
  await loggedBy(() => world.call(stack.request('Create', PROPERTIES)));
  assert.equal(stack.answers[0].Status, 'FAILED');
  assert.match(stack.answers[0].Reason, /no right to write the secret/);
  assert.deepEqual(world.keys, []);
});

test('deleting a key that is gone, of a user that is gone, succeeds', async () => {
  world.gone = true;
  for (const id of ['AKIAKEY0000000000001', 'none']) {
    await world.call(stack.request('Delete', PROPERTIES, { PhysicalResourceId: id }));
  }
  assert.deepEqual(stack.answers.map((answer) => answer.Status), ['SUCCESS', 'SUCCESS']);
});

test('deleting what a cut short creation left takes all keys of the user', async () => {
  world.keys.push('AKIALOST000000000000');
  await world.call(stack.request('Delete', PROPERTIES, { PhysicalResourceId: 'test-Credentials-1ABCDEF' }));
  assert.deepEqual(world.keys, []);
});

test('answers before its own time is up, and makes nothing afterwards', async () => {
  let wake;
  world.hang = new Promise((done) => { wake = done; });
  await loggedBy(() => world.call(stack.request('Create', PROPERTIES), contextOf(5_050)));
  assert.equal(stack.answers[0].Status, 'FAILED');
  assert.match(stack.answers[0].Reason, /ran out of time/);
  wake();
  await new Promise((done) => { setTimeout(done, 50); });
  assert.deepEqual(world.keys, []);
});

/** One IAM user and one secret. */
class World {
  keys = [];
  secret;
  refuse = {};
  gone = false;
  hang = undefined;
  #made = 0;

  constructor(secret = 'some+secret+key') {
    const world = this;
    const operations = {
      ListAccessKeys: () => ({ AccessKeyMetadata: world.keys.map((AccessKeyId) => ({ AccessKeyId })) }),
      CreateAccessKey: () => {
        if (world.keys.length >= 2) throw failure('LimitExceededException', 'a user has two keys at most');
        world.#made += 1;
        const AccessKeyId = `AKIAKEY${String(world.#made).padStart(13, '0')}`;
        world.keys.push(AccessKeyId);
        return { AccessKey: { AccessKeyId, SecretAccessKey: secret } };
      },
      DeleteAccessKey: ({ AccessKeyId }) => {
        if (!world.keys.includes(AccessKeyId)) throw failure('NoSuchEntityException', `no key ${AccessKeyId}`);
        world.keys = world.keys.filter((key) => key !== AccessKeyId);
      },
      PutSecretValue: ({ SecretId, SecretString }) => {
        assert.equal(SecretId, PROPERTIES.SecretArn);
        world.secret = JSON.parse(SecretString);
      },
    };
    const client = class {
      async send({ name, input }) {
        await world.hang;
        if (world.refuse[name]) throw world.refuse[name];
        if (name.endsWith('AccessKey') || name.endsWith('AccessKeys')) {
          if (world.gone) throw failure('NoSuchEntityException', 'no such user');
          assert.equal(input.UserName, PROPERTIES.UserName);
        }
        return operations[name](input);
      }
    };
    const command = (name) => class { constructor(input) { this.name = name; this.input = input; } };
    const commands = (...names) => Object.fromEntries(names.map((name) => [`${name}Command`, command(name)]));
    this.handler = handlerOf(TEMPLATE, 'Function', {
      modules: {
        '@aws-sdk/client-iam': {
          IAMClient: client, ...commands('CreateAccessKey', 'DeleteAccessKey', 'ListAccessKeys'),
        },
        '@aws-sdk/client-secrets-manager': { SecretsManagerClient: client, ...commands('PutSecretValue') },
      },
    });
  }

  call(request, context = contextOf()) {
    return this.handler(request, context);
  }
}

function failure(name, message) {
  return Object.assign(new Error(message), { name });
}
