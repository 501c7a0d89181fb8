// The function that looks after the Ocean cluster of component `spot-ocean`, against a Spot that keeps clusters in
// memory behind real HTTP, and stand-ins for what it asks of AWS. Its waits pass a thousand times as fast.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, afterEach, before, beforeEach, test } from 'node:test';

import { cloudFormation, contextOf, listen, loggedBy, text } from './custom-resource.mjs';
import { handlerOf, resolver, templateOf } from './load.mjs';

const TEMPLATE = new URL('../../components/spot-ocean/ocean.cfn.yaml', import.meta.url);
const TOKEN = 'very-secret-token';
const PARAMETERS = {
  ClusterName: 'dev', ClusterVersion: '1.35', ClusterEndpoint: 'https://dev.eks.amazonaws.com',
  ClusterCertificateAuthority: 'Q0E=', ServiceCidr: '', SubnetIds: ['subnet-1', 'subnet-2'], SecurityGroupIds: ['sg-1'],
  InstanceProfileArn: 'arn:profile', SpotAccountId: 'act-12ab34cd', TokenSecretArn: 'arn:token', TokenKeyArn: '',
  MinSize: '1', DesiredSize: '2', MaxSize: '10', MaxVcpu: '128', MaxMemoryGiB: '512', HeadroomPercent: '30',
  MaxScaleDownPercent: '33', AggressiveScaleDown: 'false', SpotPercent: '100', FallbackToOnDemand: 'true',
  DrainingSeconds: '300', Architecture: 'x86_64', MinVcpu: '2', MinMemoryGiB: '8', ImageId: 'ami-1', DiskGiB: '50',
  MaxPods: '110', MetadataHopLimit: '1', RollPercent: '0', MachineTags: 'landfall:platform|acme|Cost Center|a=b',
};

let stack;
let spot;
let world;
before(async () => { stack = await cloudFormation(); });
after(() => stack.close());
beforeEach(async () => {
  stack.answers.length = 0;
  spot = await spotApi();
  world = new World();
});
afterEach(() => spot.close());

test('makes the cluster as document and template describe it', async () => {
  const logged = await loggedBy(() => world.call(stack.request('Create', properties())));

  const [answer] = stack.answers;
  assert.equal(answer.Status, 'SUCCESS');
  assert.equal(answer.PhysicalResourceId, 'o-1');
  const [cluster] = spot.clusters;
  const { launchSpecification, ...compute } = cluster.compute;
  const { userData, tags, ...launch } = launchSpecification;
  assert.deepEqual({ ...cluster, compute }, {
    id: 'o-1', name: 'dev', controllerClusterId: 'dev', region: 'us-east-1',
    capacity: { minimum: 1, maximum: 10, target: 2 },
    strategy: { spotPercentage: 100, fallbackToOd: true, drainingTimeout: 300, utilizeReservedInstances: true },
    autoScaler: {
      isEnabled: true, isAutoConfig: true, autoHeadroomPercentage: 30,
      resourceLimits: { maxVCpu: 128, maxMemoryGib: 512 },
      down: { maxScaleDownPercentage: 33, aggressiveScaleDown: { isEnabled: false } },
    },
    compute: {
      subnetIds: ['subnet-1', 'subnet-2'],
      instanceTypes: {
        filters: { architectures: ['x86_64'], excludeMetal: true, hypervisor: ['nitro'], minVcpu: 2, minMemoryGiB: 8 },
      },
    },
  });
  assert.deepEqual(launch, {
    imageId: 'ami-1', securityGroupIds: ['sg-1'], iamInstanceProfile: { arn: 'arn:profile' },
    associatePublicIpAddress: false,
    instanceMetadataOptions: { httpTokens: 'required', httpPutResponseHopLimit: 1 },
    blockDeviceMappings: [{
      deviceName: '/dev/xvda', ebs: { volumeSize: 50, volumeType: 'gp3', encrypted: true, deleteOnTermination: true },
    }],
    resourceTagSpecification: { volumes: { shouldTag: true } },
  });
  assert.deepEqual(Object.fromEntries(tags.map((tag) => [tag.tagKey, tag.tagValue])), {
    'landfall:platform': 'acme', 'Cost Center': 'a=b', Name: 'dev-ocean', 'kubernetes.io/cluster/dev': 'owned',
    'landfall:stack': answer.StackId, 'landfall:spot-account': 'act-12ab34cd',
  });
  assert.equal(Buffer.from(userData, 'base64').toString(), [
    'MIME-Version: 1.0', 'Content-Type: multipart/mixed; boundary="NODECONFIG"', '',
    '--NODECONFIG', 'Content-Type: application/node.eks.aws', '',
    'apiVersion: node.eks.aws/v1alpha1', 'kind: NodeConfig', 'spec:', '  cluster:', '    name: dev',
    '    apiServerEndpoint: https://dev.eks.amazonaws.com', '    certificateAuthority: Q0E=',
    '    cidr: 172.20.0.0/16', '  kubelet:', '    config:', '      maxPods: 110', '--NODECONFIG--', '',
  ].join('\n'));
  assert.ok(!logged.includes(TOKEN) && !logged.includes('secret-signature'), 'nothing secret is logged');
  assert.ok(spot.calls.every((call) => call.account === 'act-12ab34cd'));
});

test('asks the cluster for nothing when it is told the addresses of services', async () => {
  await world.call(stack.request('Create', properties({ ServiceCidr: '10.100.0.0/16', MaxPods: '0' })));
  const data = Buffer.from(spot.clusters[0].compute.launchSpecification.userData, 'base64').toString();
  assert.match(data, /cidr: 10\.100\.0\.0\/16\n--NODECONFIG--/);
  assert.equal(world.described, 0);
});

test('a creation whose answer to CloudFormation was lost makes no second cluster', async () => {
  const request = stack.request('Create', properties());
  stack.refuse(3);
  await assert.rejects(world.call(request), /refused with 500/);

  await world.call(request);

  assert.deepEqual(stack.answers.map((answer) => [answer.Status, answer.PhysicalResourceId]), [['SUCCESS', 'o-1']]);
  assert.equal(spot.clusters.length, 1);
});

test('a creation that Spot carried out without an answer makes no second cluster', async () => {
  spot.lose('POST');
  await world.call(stack.request('Create', properties()));
  assert.equal(stack.answers[0].PhysicalResourceId, 'o-1');
  assert.equal(spot.clusters.length, 1);
});

test('throttling and failures of Spot are waited out', async () => {
  spot.refuseNext(429, 503, 500);
  await world.call(stack.request('Create', properties()));
  assert.equal(stack.answers[0].Status, 'SUCCESS');
  assert.equal(spot.clusters.length, 1);
});

test('a cluster that somebody else made is left alone', async () => {
  spot.clusters.push({ id: 'o-9', controllerClusterId: 'dev', region: 'us-east-1', compute: { launchSpecification: {} } });
  await failing(() => world.call(stack.request('Create', properties())));
  assert.match(stack.answers[0].Reason, /o-9 looks after dev already, and this stack did not make it/);
  assert.deepEqual(spot.clusters.map((cluster) => cluster.id), ['o-9']);

  // The rollback that follows must not touch it either.
  await world.call(stack.request('Delete', properties(), { PhysicalResourceId: stack.answers[0].PhysicalResourceId }));
  assert.equal(stack.answers[1].Status, 'SUCCESS');
  assert.deepEqual(spot.clusters.map((cluster) => cluster.id), ['o-9']);
});

test('a cluster of the same name in another region is no obstacle', async () => {
  spot.clusters.push({ id: 'o-9', controllerClusterId: 'dev', region: 'eu-west-1' });
  await world.call(stack.request('Create', properties()));
  assert.equal(stack.answers[0].Status, 'SUCCESS');
});

test('an update changes limits and leaves the number of machines to Ocean', async () => {
  await world.call(stack.request('Create', properties()));
  await update({ MaxSize: '20', HeadroomPercent: '10' });
  assert.equal(stack.answers[1].PhysicalResourceId, 'o-1');
  const [cluster] = spot.clusters;
  assert.deepEqual(cluster.capacity, { minimum: 1, maximum: 20 });
  assert.equal(cluster.autoScaler.autoHeadroomPercentage, 10);
  const put = spot.calls.find((call) => call.method === 'PUT');
  assert.ok(!('region' in put.body.cluster) && !('controllerClusterId' in put.body.cluster), 'these cannot be changed');
  assert.deepEqual(spot.rolls, []);
});

test('machines are replaced after a change of their image, when asked for', async () => {
  await world.call(stack.request('Create', properties({ RollPercent: '20' })));
  await update({ RollPercent: '20', MaxSize: '11' }, { RollPercent: '20' });
  assert.deepEqual(spot.rolls, []);
  await update({ RollPercent: '20', ImageId: 'ami-2' }, { RollPercent: '20' });
  assert.deepEqual(spot.rolls, [{ id: 'o-1', batchSizePercentage: 20, respectPdb: true, comment: 'changed by its stack' }]);
});

test('an update of a cluster that was deleted at Spot makes it again', async () => {
  await world.call(stack.request('Create', properties()));
  spot.clusters.length = 0;
  await update({ MaxSize: '20' });
  assert.deepEqual([stack.answers[1].Status, stack.answers[1].PhysicalResourceId], ['SUCCESS', 'o-2']);
});

test('another name makes another cluster, and the old one goes afterwards', async () => {
  await world.call(stack.request('Create', properties()));
  await update({ ClusterName: 'prod' });
  assert.equal(stack.answers[1].PhysicalResourceId, 'o-2');
  await world.call(stack.request('Delete', properties(), { PhysicalResourceId: 'o-1' }));
  assert.deepEqual(spot.clusters.map((cluster) => cluster.controllerClusterId), ['prod']);
});

test('deleting waits until the machines are gone, and looks only for its own', async () => {
  await world.call(stack.request('Create', properties()));
  world.machines = [['i-1', 'i-2'], ['i-2'], []];
  await world.call(stack.request('Delete', properties(), { PhysicalResourceId: 'o-1' }));
  assert.equal(stack.answers[1].Status, 'SUCCESS');
  assert.deepEqual(spot.clusters, []);
  assert.deepEqual(world.machines, [], 'it asked until none were left');
  assert.deepEqual(world.filters.slice(0, 3), [
    ['tag:landfall:stack', stack.answers[0].StackId],
    ['tag:landfall:spot-account', 'act-12ab34cd'],
    ['tag:kubernetes.io/cluster/dev', 'owned'],
  ]);
});

test('machines that do not go are named before the time is up', async () => {
  await world.call(stack.request('Create', properties()));
  world.machines = Array(1000).fill(['i-1']);
  await failing(() => world.call(stack.request('Delete', properties(), { PhysicalResourceId: 'o-1' }), contextOf(100_000)));
  assert.match(stack.answers[1].Reason, /ran out of time; still there: i-1/);
  const left = world.machines.length;
  await new Promise((done) => { setTimeout(done, 100); });
  assert.ok(world.machines.length >= left - 1, 'nothing goes on after the answer');
});

test('deleting what is gone succeeds', async () => {
  await world.call(stack.request('Delete', properties(), { PhysicalResourceId: 'o-7' }));
  assert.equal(stack.answers[0].Status, 'SUCCESS');
  assert.deepEqual(spot.calls.map((call) => call.method), ['GET']);
});

test('a deletion whose answer from Spot was lost succeeds', async () => {
  await world.call(stack.request('Create', properties()));
  spot.lose('DELETE');
  await world.call(stack.request('Delete', properties(), { PhysicalResourceId: 'o-1' }));
  assert.equal(stack.answers[1].Status, 'SUCCESS');
});

test('what a cut short creation left is found by its tag and deleted', async () => {
  await world.call(stack.request('Create', properties()));
  await world.call(stack.request('Delete', properties(), { PhysicalResourceId: 'none' }));
  assert.deepEqual(spot.clusters, []);
});

test('what Spot says reaches the events of the stack', async () => {
  spot.objectNext('CANT_CREATE_OCEAN', 'the subnet subnet-1 is not in region us-east-1');
  await failing(() => world.call(stack.request('Create', properties())));
  assert.equal(
    stack.answers[0].Reason,
    'Spot refused POST (400): CANT_CREATE_OCEAN: the subnet subnet-1 is not in region us-east-1',
  );
});

test('a wrong token is explained, is shown nowhere, and does not hold the rollback up', async () => {
  world.token = 'wrong-token';
  const logged = await failing(() => world.call(stack.request('Create', properties())));
  const [answer] = stack.answers;
  assert.match(answer.Reason, /Spot refused the token in arn:token for act-12ab34cd \(401, .*\*\*\*.*make a token/);
  assert.ok(!JSON.stringify(answer).includes('wrong-token') && !logged.includes('wrong-token'));

  await loggedBy(() => world.call(stack.request('Delete', properties(), { PhysicalResourceId: answer.PhysicalResourceId })));
  assert.equal(stack.answers[1].Status, 'SUCCESS');
});

test('with a token that no longer works, a cluster that stands is not given up', async () => {
  await world.call(stack.request('Create', properties()));
  world.token = 'wrong-token';
  await failing(() => world.call(stack.request('Delete', properties(), { PhysicalResourceId: 'o-1' })));
  assert.match(stack.answers[1].Reason, /Spot refused the token/);
});

for (const [what, value, expected] of [
  ['a secret without a value', undefined, /could not be read from arn:token \(ResourceNotFoundException\): put it in with/],
  ['a secret with JSON', '{"token":"x"}', /must hold the token for Spot as plain text/],
]) {
  test(`${what} is explained`, async () => {
    world.token = value;
    await failing(() => world.call(stack.request('Create', properties())));
    assert.match(stack.answers[0].Reason, expected);
    assert.deepEqual(spot.calls, []);
  });
}

test('a Spot that never answers leads to an answer all the same, and to nothing afterwards', async () => {
  spot.hang();
  await failing(() => world.call(stack.request('Create', properties()), contextOf(60_000)));
  assert.match(stack.answers[0].Reason, /ran out of time/);
  spot.wake();
  await new Promise((done) => { setTimeout(done, 200); });
  assert.deepEqual(spot.clusters, []);
});

/** What CloudFormation would hand to the function, as the template says it; everything in it is text. */
function properties(changes = {}) {
  const config = { ...PARAMETERS, ...changes };
  const template = templateOf(TEMPLATE);
  const { ServiceToken, ServiceTimeout, ...rest } = resolver(template, config)(template.Resources.Ocean.Properties);
  return rest;
}

function update(changes, before_ = {}) {
  return world.call(stack.request('Update', properties(changes), {
    OldResourceProperties: properties(before_), PhysicalResourceId: 'o-1',
  }));
}

/** Runs something that ends with a failure, and gives what was logged. */
async function failing(work) {
  const answered = stack.answers.length;
  const logged = await loggedBy(work);
  assert.equal(stack.answers[answered].Status, 'FAILED');
  return logged;
}

/** What the function sees of AWS, and of the time. */
class World {
  token = TOKEN;
  machines = [];
  filters = [];
  described = 0;

  constructor() {
    const world = this;
    const answers = {
      GetSecretValue: ({ SecretId }) => {
        assert.equal(SecretId, 'arn:token');
        if (world.token === undefined) throw Object.assign(new Error('no value'), { name: 'ResourceNotFoundException' });
        return { SecretString: `${world.token}\n` };
      },
      DescribeCluster: ({ name }) => {
        world.described += 1;
        assert.ok(['dev', 'prod'].includes(name));
        return { cluster: { kubernetesNetworkConfig: { serviceIpv4Cidr: '172.20.0.0/16' } } };
      },
      // Each machine on a page of its own.
      DescribeInstances: ({ Filters, NextToken }) => {
        world.filters = Filters.map((filter) => [filter.Name, filter.Values[0]]);
        const at = Number(NextToken ?? 0);
        const standing = world.machines[0] ?? [];
        const last = at + 1 >= standing.length;
        if (last) world.machines.shift();
        const found = standing.slice(at, at + 1).map((InstanceId) => ({ Instances: [{ InstanceId }] }));
        return { Reservations: found, NextToken: last ? undefined : String(at + 1) };
      },
    };
    const client = class { async send({ name, input }) { return answers[name](input); } };
    const command = (name) => class { constructor(input) { this.name = name; this.input = input; } };
    this.handler = handlerOf(TEMPLATE, 'Function', {
      config: PARAMETERS,
      modules: {
        '@aws-sdk/client-ec2': { EC2Client: client, DescribeInstancesCommand: command('DescribeInstances') },
        '@aws-sdk/client-eks': { EKSClient: client, DescribeClusterCommand: command('DescribeCluster') },
        '@aws-sdk/client-secrets-manager': {
          SecretsManagerClient: client, GetSecretValueCommand: command('GetSecretValue'),
        },
      },
      globals: {
        fetch: (url, options) => fetch(String(url).replace('https://api.spotinst.io', spot.address), options),
        setTimeout: (work, ms) => setTimeout(work, ms / 1000),
      },
    });
  }

  call(request, context = contextOf(900_000)) {
    return this.handler(request, context);
  }
}

/** Spot's API, as far as the function uses it. */
async function spotApi() {
  const clusters = [];
  const calls = [];
  const rolls = [];
  const refusals = [];
  let lost;
  let hangs = false;
  const hanging = [];
  let made = 0;
  const reply = (response, status, inner) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ request: {}, response: { status: { code: status, message: 'x' }, ...inner } }));
  };
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://spot');
    const body = JSON.parse((await text(request)) || 'null');
    const [id, verb] = url.pathname.replace('/ocean/aws/k8s/cluster', '').split('/').slice(1);
    if (hangs) {
      hanging.push(response);
      return;
    }
    calls.push({ method: request.method, id, verb, account: url.searchParams.get('accountId'), body });
    const given = request.headers.authorization;
    if (given !== `Bearer ${TOKEN}`) {
      reply(response, 401, { errors: [{ code: 'AUTH', message: `${given} is not known` }] });
      return;
    }
    const objection = refusals[0]?.error;
    // An objection is to something that is asked for, not to being asked.
    if (refusals.length > 0 && (!objection || request.method !== 'GET')) {
      const { status, error } = refusals.shift();
      reply(response, status, { errors: error && [error] });
      return;
    }
    const at = clusters.findIndex((cluster) => cluster.id === id);
    if (id && at < 0) {
      reply(response, 400, { errors: [{ code: 'CLUSTER_DOESNT_EXIST', message: `no cluster ${id}` }] });
      return;
    }
    let items = [];
    if (request.method === 'GET') items = clusters;
    else if (verb === 'roll') rolls.push({ id, ...body.roll });
    else if (request.method === 'POST') {
      made += 1;
      items = [{ id: `o-${made}`, ...body.cluster }];
      clusters.push(items[0]);
    } else if (request.method === 'PUT') Object.assign(clusters[at], body.cluster);
    else clusters.splice(at, 1);
    if (lost === request.method) {
      lost = undefined;
      response.destroy();
      return;
    }
    reply(response, 200, { items, count: items.length });
  });
  return {
    clusters, calls, rolls,
    address: await listen(server),
    /** Does the next request of this method, and breaks the connection instead of answering. */
    lose: (method) => { lost = method; },
    refuseNext: (...statuses) => refusals.push(...statuses.map((status) => ({ status }))),
    objectNext: (code, message) => refusals.push({ status: 400, error: { code, message } }),
    /** Answers nothing until it is woken, and then breaks the connections that wait. */
    hang: () => { hangs = true; },
    wake: () => {
      hangs = false;
      hanging.forEach((response) => response.destroy());
    },
    close: () => new Promise((done) => { server.close(done); server.closeAllConnections(); }),
  };
}
