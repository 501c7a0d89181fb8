// The function that clears a zone of what certificates left, against a Route 53 in memory.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';

import { cloudFormation, contextOf, loggedBy } from './custom-resource.mjs';
import { handlerOf } from './load.mjs';

const TEMPLATE = new URL('../../components/dns-zone/zone.cfn.yaml', import.meta.url);
const ZONE = 'Z0123456789ABC';

const record = (Name, Type, ...values) => ({ Name, Type, TTL: 300, ResourceRecords: values.map((Value) => ({ Value })) });
const validation = (name) => record(`_${name}.dev.acme.example.`, 'CNAME', `_${name}x.jkddzztszm.acm-validations.aws.`);
const OWN = [
  record('dev.acme.example.', 'NS', 'ns-1.awsdns-01.org.', 'ns-2.awsdns-02.com.'),
  record('dev.acme.example.', 'SOA', 'ns-1.awsdns-01.org. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400'),
];
const OTHERS = [
  record('www.dev.acme.example.', 'CNAME', 'acm-validations.aws.acme.example.'),
  record('_x.dev.acme.example.', 'CNAME', 'xacm-validations.aws.'),
  record('_x.dev.acme.example.', 'TXT', '"_x.acm-validations.aws."'),
  { Name: 'app.dev.acme.example.', Type: 'A', AliasTarget: { DNSName: 'd1.cloudfront.net.', HostedZoneId: 'Z2FDTNDATAQYW2' } },
];

let stack;
let zones;
let calls;
before(async () => { stack = await cloudFormation(); });
after(() => stack.close());
beforeEach(() => {
  stack.answers.length = 0;
  zones = new Map();
  calls = [];
});

/** Route 53 as far as it is needed: pages of two records, batches that go as a whole or not at all. */
const route53 = {
  Route53Client: class { send = async (command) => command.run(); },
  ListResourceRecordSetsCommand: class {
    constructor(input) { this.input = input; }
    run() {
      calls.push('list');
      const all = zones.get(this.input.HostedZoneId);
      if (!all) throw Object.assign(new Error('No hosted zone found'), { name: 'NoSuchHostedZone' });
      const key = ({ Name, Type }) => `${Name} ${Type}`;
      const { StartRecordName, StartRecordType } = this.input;
      const from = StartRecordName ? all.findIndex((one) => key(one) === `${StartRecordName} ${StartRecordType}`) : 0;
      const [next] = all.slice(from + 2);
      return {
        ResourceRecordSets: all.slice(from, from + 2),
        IsTruncated: next !== undefined,
        NextRecordName: next?.Name,
        NextRecordType: next?.Type,
      };
    }
  },
  ChangeResourceRecordSetsCommand: class {
    constructor(input) { this.input = input; }
    run() {
      const { Changes } = this.input.ChangeBatch;
      calls.push(`delete ${Changes.length}`);
      assert.ok(Changes.length > 0, 'Route 53 refuses an empty batch');
      assert.ok(Changes.every(({ Action }) => Action === 'DELETE'));
      const gone = new Set(Changes.map(({ ResourceRecordSet }) => ResourceRecordSet));
      zones.set(this.input.HostedZoneId, zones.get(this.input.HostedZoneId).filter((one) => !gone.has(one)));
    }
  },
};

const call = (type, more = {}) => handlerOf(TEMPLATE, 'CleanupFunction', { modules: { '@aws-sdk/client-route-53': route53 } })(
  stack.request(type, { ZoneId: ZONE }, more),
  contextOf(),
);

test('leaves a zone alone while it stands', async () => {
  zones.set(ZONE, [...OWN, validation('a')]);
  await call('Create');
  await call('Update', { PhysicalResourceId: ZONE });
  assert.deepEqual(stack.answers.map(({ Status, PhysicalResourceId }) => `${Status} ${PhysicalResourceId}`), [
    `SUCCESS ${ZONE}`,
    `SUCCESS ${ZONE}`,
  ]);
  assert.deepEqual(calls, []);
});

test('clears away what certificates left, on every page, and nothing else', async () => {
  const kept = [...OWN, ...OTHERS];
  zones.set(ZONE, [validation('a'), ...OWN, validation('b'), ...OTHERS, validation('c')]);
  const log = await loggedBy(() => call('Delete', { PhysicalResourceId: ZONE }));
  assert.deepEqual(zones.get(ZONE), kept);
  assert.equal(stack.answers[0].Status, 'SUCCESS');
  assert.match(log, /_a\.dev\.acme\.example\./);
});

test('asks for nothing when there is nothing to clear away', async () => {
  zones.set(ZONE, [...OWN]);
  await loggedBy(() => call('Delete', { PhysicalResourceId: ZONE }));
  assert.deepEqual(calls, ['list']);
  assert.equal(stack.answers[0].Status, 'SUCCESS');
});

test('goes in batches', async () => {
  zones.set(ZONE, Array.from({ length: 205 }, (_, i) => validation(`n${i}`)));
  await loggedBy(() => call('Delete', { PhysicalResourceId: ZONE }));
  assert.deepEqual(calls.filter((one) => one !== 'list'), ['delete 100', 'delete 100', 'delete 5']);
  assert.deepEqual(zones.get(ZONE), []);
});

test('is done when somebody has deleted the zone', async () => {
  await loggedBy(() => call('Delete', { PhysicalResourceId: ZONE }));
  assert.equal(stack.answers[0].Status, 'SUCCESS');
});

test('says why it could not', async () => {
  zones.set(ZONE, { findIndex: () => 0, slice: () => { throw new Error('Rate exceeded'); } });
  await loggedBy(() => call('Delete', { PhysicalResourceId: ZONE }));
  assert.equal(`${stack.answers[0].Status} ${stack.answers[0].Reason}`, 'FAILED Rate exceeded');
  assert.equal(stack.answers[0].PhysicalResourceId, ZONE);
});

test('tries its answer again', async () => {
  stack.refuse(2);
  await call('Create');
  assert.equal(stack.answers.length, 1);
});
