// Talks to a Keycloak with the official admin client, and tells what it saw as JSON.
//
//   node admin.mjs URL judge              makes one of everything, reads it back, and removes it
//   node admin.mjs URL realms             tells a realm with its roles, users and clients: REALM as the next argument
//   node admin.mjs URL set REALM JSON     lays fields over a realm, as somebody at the console would
import KcAdminClient from '@keycloak/keycloak-admin-client';

const [url, task, realm, fields] = process.argv.slice(2);
const client = new KcAdminClient({ baseUrl: url, realmName: 'master' });
await client.auth({ username: 'admin', password: 'adm1n-pass', grantType: 'password', clientId: 'admin-cli' });
client.setConfig({ realmName: realm ?? 'judged' });

const refusal = async (act) => {
  try {
    await act();
    return 'no refusal';
  } catch (error) {
    return `${error.response?.status} ${error.responseData?.errorMessage ?? error.message}`;
  }
};

async function judge() {
  const said = {};
  said.made = await client.realms.create({ realm: 'judged', enabled: true, attributes: { mine: 'yes' } });
  said.twice = await refusal(() => client.realms.create({ realm: 'judged' }));
  await client.realms.update({ realm: 'judged' }, { displayName: 'Judged' });
  const one = await client.realms.findOne({ realm: 'judged' });
  said.realm = { enabled: one.enabled, displayName: one.displayName, mine: one.attributes.mine };
  said.absent = (await client.realms.findOne({ realm: 'nobody' })) ?? 'none';

  said.role = await client.roles.create({ name: 'premium', description: 'Pays' });
  said.roleTwice = await refusal(() => client.roles.create({ name: 'premium' }));
  const role = await client.roles.findOneByName({ name: 'premium' });
  said.roles = (await client.roles.find()).map(({ name }) => name).sort();

  const user = await client.users.create({
    username: 'Alice', email: 'alice@acme.example', enabled: true,
    credentials: [{ type: 'password', value: 'alice-pass', temporary: true }],
  });
  const [alice] = await client.users.find({ username: 'alice', exact: true });
  said.user = { username: alice.username, same: alice.id === user.id, credentials: alice.credentials ?? 'not told' };
  await client.users.addRealmRoleMappings({ id: alice.id, roles: [{ id: role.id, name: role.name }] });
  said.mapped = (await client.users.listRealmRoleMappings({ id: alice.id })).map(({ name }) => name).sort();
  await client.users.delRealmRoleMappings({ id: alice.id, roles: [{ id: role.id, name: role.name }] });
  said.unmapped = (await client.users.listRealmRoleMappings({ id: alice.id })).map(({ name }) => name);
  await client.users.resetPassword({ id: alice.id, credential: { type: 'password', value: 'other', temporary: false } });

  const web = await client.clients.create({
    clientId: 'web', publicClient: false, secret: 'w3b', authorizationServicesEnabled: true, serviceAccountsEnabled: true,
    protocolMappers: [{ name: 'audience', protocol: 'openid-connect', protocolMapper: 'oidc-audience-mapper', config: {} }],
  });
  said.clientTwice = await refusal(() => client.clients.create({ clientId: 'web' }));
  const [found] = await client.clients.find({ clientId: 'web' });
  said.client = { same: found.id === web.id, mappers: found.protocolMappers.map(({ name }) => name) };
  said.secret = (await client.clients.getClientSecret({ id: web.id })).value;
  await client.clients.addProtocolMapper({ id: web.id }, {
    name: 'groups', protocol: 'openid-connect', protocolMapper: 'oidc-group-membership-mapper', config: { 'claim.name': 'groups' },
  });
  const mappers = await client.clients.listProtocolMappers({ id: web.id });
  said.mappers = mappers.map(({ name }) => name).sort();
  await client.clients.delProtocolMapper({ id: web.id, mapperId: mappers.find(({ name }) => name === 'groups').id });

  const scope = await client.clientScopes.create({ name: 'api', protocol: 'openid-connect' });
  await client.clients.addDefaultClientScope({ id: web.id, clientScopeId: scope.id });
  said.scopes = (await client.clients.listDefaultClientScopes({ id: web.id })).map(({ name }) => name).sort();

  await client.clients.importResource({ id: web.id }, {
    policyEnforcementMode: 'ENFORCING',
    resources: [{ name: 'Premium Resource', uris: ['/protected/premium'], type: 'urn:premium', scopes: [] }],
    policies: [{ name: 'Only premium', type: 'role', logic: 'POSITIVE', config: { roles: '[{"id":"premium","required":false}]' } }],
    scopes: [],
  });
  const settings = await client.clients.exportResource({ id: web.id });
  said.authorization = {
    resources: settings.resources.map(({ name }) => name).sort(), policies: settings.policies.map(({ name }) => name),
  };
  await client.users.del({ id: alice.id });
  await client.clients.del({ id: web.id });
  await client.realms.del({ realm: 'judged' });
  said.left = (await client.realms.find()).map((left) => left.realm);
  delete said.client.id;
  return said;
}

async function realms() {
  const all = {};
  for (const { realm: name } of await client.realms.find()) {
    if (name !== realm) continue;
    const { displayName, enabled, attributes } = await client.realms.findOne({ realm: name });
    const users = {};
    for (const user of await client.users.find()) {
      const mapped = await client.users.listRealmRoleMappings({ id: user.id });
      users[user.username] = mapped.map((role) => role.name).sort();
    }
    all[name] = {
      displayName, enabled, attributes, users,
      roles: (await client.roles.find()).map((role) => role.name).sort(),
      clients: (await client.clients.find()).map((one) => one.clientId).sort(),
    };
  }
  return all;
}

const tasks = { judge, realms, set: () => client.realms.update({ realm }, JSON.parse(fields)) };
console.log(JSON.stringify((await tasks[task]()) ?? 'done', null, 2));
