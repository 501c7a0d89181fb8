# How things stand, as the services themselves tell it: each function describes one kind of thing without ids, which
# differ from run to run.
import re

seen = {}


def tags_of(thing):
    tags = {t['Key']: t['Value'] for t in thing.get('Tags') or []}
    return {key: tags[key] for key in sorted(tags) if not key.startswith(('aws:', 'landfall:')) and key != 'CostCenter'}


def last(arn):
    return arn.replace('|', '/').split('/')[-1]


def network(region):
    ec2 = client('ec2', region)
    ours = lambda things: [t for t in things if any(x['Key'] == 'landfall:platform' for x in t.get('Tags') or [])]
    [vpc] = ours(ec2.describe_vpcs()['Vpcs'])
    here = [{'Name': 'vpc-id', 'Values': [vpc['VpcId']]}]
    tables = ec2.describe_route_tables(Filters=here)['RouteTables']
    gateways = {n['NatGatewayId']: n for n in ours(ec2.describe_nat_gateways()['NatGateways'])}

    def way_out(subnet):
        for table in tables:
            if any(a.get('SubnetId') == subnet for a in table['Associations']):
                for route in table['Routes']:
                    if route.get('DestinationCidrBlock') == '0.0.0.0/0':
                        return 'internet' if route.get('GatewayId') else tags_of(gateways[route['NatGatewayId']])['Name']
        return 'none'

    attribute = lambda name: ec2.describe_vpc_attribute(VpcId=vpc['VpcId'], Attribute=name)
    seen['network'] = {
        'cidr': vpc['CidrBlock'],
        'names': [attribute('enableDnsSupport')['EnableDnsSupport']['Value'], attribute('enableDnsHostnames')['EnableDnsHostnames']['Value']],
        'subnets': [
            ' '.join([s['CidrBlock'], s['AvailabilityZone'], 'way out', way_out(s['SubnetId']), json.dumps(tags_of(s))])
            for s in sorted(ec2.describe_subnets(Filters=here)['Subnets'], key=lambda s: [int(n) for n in s['CidrBlock'].split('/')[0].split('.')])
        ],
        'nat gateways in': sorted(next(tags_of(s)['Name'] for s in ec2.describe_subnets()['Subnets'] if s['SubnetId'] == n['SubnetId']) for n in gateways.values()),
        'addresses': len(ours(ec2.describe_addresses()['Addresses'])),
        'endpoints': sorted(f"{e['VpcEndpointType']} {e['ServiceName']}" for e in ec2.describe_vpc_endpoints()['VpcEndpoints']),
        'flow logs': [[f['TrafficType'], f['LogDestination'].split(':')[-1]] for f in ec2.describe_flow_logs()['FlowLogs']],
    }


def cluster(name, region):
    eks = client('eks', region)
    c = eks.describe_cluster(name=name)['cluster']
    associations = [eks.describe_pod_identity_association(clusterName=name, associationId=a['associationId'])['association'] for a in eks.list_pod_identity_associations(clusterName=name)['associations']]
    providers = [p['Arn'] for p in client('iam').list_open_id_connect_providers()['OpenIDConnectProviderList']]
    subnets = {s['SubnetId']: tags_of(s)['Name'] for s in client('ec2', region).describe_subnets()['Subnets'] if tags_of(s)}

    def addon(key):
        a = eks.describe_addon(clusterName=name, addonName=key)['addon']
        return {
            'configuration': json.loads(a.get('configurationValues') or 'null'),
            'pod identities': [f"{p['serviceAccount']}: {last(p['roleArn'])}" for p in a.get('podIdentityAssociations', [])],
        }

    def entry(principal):
        policies = eks.list_associated_access_policies(clusterName=name, principalArn=principal)['associatedAccessPolicies']
        kind = eks.describe_access_entry(clusterName=name, principalArn=principal)['accessEntry']['type']
        return [kind] + [f"{last(p['policyArn'])} {p['accessScope']['type']} {p['accessScope'].get('namespaces') or ''}".strip() for p in policies]

    seen[f'cluster {name}'] = {
        'version': c['version'],
        'access': c['accessConfig'],
        'entries': {last(p): entry(p) for p in sorted(eks.list_access_entries(clusterName=name)['accessEntries'])},
        'logs': [log['types'] for log in c['logging']['clusterLogging'] if log['enabled']],
        'encrypted': [part['resources'] for part in c['encryptionConfig']],
        'endpoint': [c['resourcesVpcConfig'][key] for key in ('endpointPrivateAccess', 'endpointPublicAccess', 'publicAccessCidrs')],
        'in': sorted(subnets[s] for s in c['resourcesVpcConfig']['subnetIds']),
        'add-ons': {key: addon(key) for key in sorted(eks.list_addons(clusterName=name)['addons'])},
        'node groups': {
            n['nodegroupName']: [n['instanceTypes'], n['amiType'], n['capacityType'], n['scalingConfig'], n.get('labels'), n.get('taints')]
            for n in (eks.describe_nodegroup(clusterName=name, nodegroupName=key)['nodegroup'] for key in sorted(eks.list_nodegroups(clusterName=name)['nodegroups']))
        },
        'pod identities': sorted(f"{a['namespace']}/{a['serviceAccount']}: {last(a['roleArn'])}" for a in associations),
        'trusted by IAM': any(p.split('/')[-1] == last(c['identity']['oidc']['issuer']) for p in providers),
    }


def sign_in(name, region):
    cognito = client('cognito-idp', region)
    secrets = client('secretsmanager', region)
    [pool] = [p['Id'] for p in cognito.list_user_pools(MaxResults=60)['UserPools'] if p['Name'] == name]
    p = cognito.describe_user_pool(UserPoolId=pool)['UserPool']
    kept = {}
    for secret in secrets.list_secrets()['SecretList']:
        value = secrets.get_secret_value(SecretId=secret['ARN']).get('SecretString', '')
        if value.startswith('{'):
            kept[json.loads(value).get('clientId')] = json.loads(value)

    def one(c):
        secret = kept.get(c['ClientId'])
        return {
            'flows': c.get('AllowedOAuthFlows'),
            'scopes': c.get('AllowedOAuthScopes'),
            'providers': c.get('SupportedIdentityProviders'),
            'signs in with': c.get('ExplicitAuthFlows'),
            'callbacks': c.get('CallbackURLs'),
            'tokens': [c.get('AccessTokenValidity'), c.get('RefreshTokenValidity'), c.get('TokenValidityUnits')],
            'has a secret': 'ClientSecret' in c,
            'kept in Secrets Manager': sorted(secret) if secret else None,
            'the same': bool(secret) and secret['clientSecret'] == c.get('ClientSecret'),
        }

    clients = [cognito.describe_user_pool_client(UserPoolId=pool, ClientId=c['ClientId'])['UserPoolClient'] for c in cognito.list_user_pool_clients(UserPoolId=pool, MaxResults=60)['UserPoolClients']]
    seen[f'sign-in {name}'] = {
        'names': p.get('UsernameAttributes'),
        'only administrators invite': p['AdminCreateUserConfig']['AllowAdminCreateUserOnly'],
        'second factor': p.get('MfaConfiguration'),
        'password': p['Policies']['PasswordPolicy']['MinimumLength'],
        'domain': p.get('Domain') or p.get('CustomDomain'),
        'groups': sorted(g['GroupName'] for g in cognito.list_groups(UserPoolId=pool)['Groups']),
        'scopes': {r['Identifier']: [s['ScopeName'] for s in r['Scopes']] for r in cognito.list_resource_servers(UserPoolId=pool, MaxResults=50)['ResourceServers']},
        'other providers': {
            i['ProviderName']: cognito.describe_identity_provider(UserPoolId=pool, ProviderName=i['ProviderName'])['IdentityProvider']['ProviderDetails'].get('oidc_issuer')
            for i in cognito.list_identity_providers(UserPoolId=pool, MaxResults=10)['Providers']
        },
        'clients': {c['ClientName']: one(c) for c in sorted(clients, key=lambda c: c['ClientName'])},
    }


def api(name, region):
    gateway = client('apigatewayv2', region)
    [a] = [a for a in gateway.get_apis()['Items'] if a['Name'] == name]
    authorizers = {x['AuthorizerId']: x for x in gateway.get_authorizers(ApiId=a['ApiId'])['Items']}
    integrations = {i['IntegrationId']: i for i in gateway.get_integrations(ApiId=a['ApiId'])['Items']}

    def route(r):
        authorizer = authorizers.get(r.get('AuthorizerId'), {})
        integration = integrations[last(r['Target'])]
        return [r['AuthorizationType'], authorizer.get('Name'), r.get('AuthorizationScopes') or [], integration['IntegrationType'], integration.get('ConnectionType')]

    [stage] = gateway.get_stages(ApiId=a['ApiId'])['Items']
    hosts = [d['DomainName'] for d in gateway.get_domain_names()['Items'] for m in gateway.get_api_mappings(DomainName=d['DomainName'])['Items'] if m['ApiId'] == a['ApiId']]
    seen[f'api {name}'] = {
        'own address': not a.get('DisableExecuteApiEndpoint', False),
        'routes': {r['RouteKey']: route(r) for r in sorted(gateway.get_routes(ApiId=a['ApiId'])['Items'], key=lambda r: r['RouteKey'])},
        'authorizers': {x['Name']: [x['AuthorizerType'], x.get('IdentitySource')] for x in authorizers.values()},
        'stage': [stage['StageName'], stage.get('AutoDeploy'), stage.get('DefaultRouteSettings'), (stage.get('AccessLogSettings') or {}).get('DestinationArn', '').removesuffix(':*').split(':')[-1]],
        'hosts': hosts,
    }


def logs(region):
    seen[f'logs in {region}'] = {g['logGroupName']: g.get('retentionInDays') for g in sorted(client('logs', region).describe_log_groups()['logGroups'], key=lambda g: g['logGroupName'])}


def keys(region):
    kms = client('kms', region)
    found = {a['AliasName']: kms.get_key_rotation_status(KeyId=a['TargetKeyId'])['KeyRotationEnabled'] for a in kms.list_aliases()['Aliases'] if a.get('TargetKeyId') and not a['AliasName'].startswith('alias/aws/')}
    seen['keys, and whether they rotate'] = found


def secrets(region):
    manager = client('secretsmanager', region)
    found = {}
    for s in manager.list_secrets()['SecretList']:
        if any(t['Key'] == 'landfall:platform' for t in s.get('Tags', [])):
            value = manager.get_secret_value(SecretId=s['ARN']).get('SecretString', '')
            policy = json.loads(manager.get_resource_policy(SecretId=s['ARN']).get('ResourcePolicy') or '{}')
            found[s['Name']] = [s.get('Description'), f'{len(value)} characters' if not value.startswith('{') else sorted(json.loads(value)), [p['Effect'] for p in policy.get('Statement', [])]]
    seen['secrets'] = dict(sorted(found.items()))


def certificates(*regions):
    for region in regions:
        acm = client('acm', region)
        found = [acm.describe_certificate(CertificateArn=c['CertificateArn'])['Certificate'] for c in acm.list_certificates()['CertificateSummaryList']]
        seen[f'certificates in {region}'] = {c['DomainName']: [c['Status'], sorted(c['SubjectAlternativeNames']), c['DomainValidationOptions'][0].get('ValidationMethod')] for c in found}


def zones():
    route53 = client('route53')
    found = []
    for zone in route53.list_hosted_zones()['HostedZones']:
        for record in route53.list_resource_record_sets(HostedZoneId=zone['Id'])['ResourceRecordSets']:
            found.append(f"{zone['Name']} {record['Type']} {record['Name']} {'alias' if 'AliasTarget' in record else len(record['ResourceRecords'])}")
    seen['records'] = sorted(found)


def functions(*regions):
    for region in regions:
        functions = client('lambda', region)
        seen[f'functions in {region}'] = {
            f['FunctionName']: [f['Runtime'], f['MemorySize'], f['Timeout'], sorted((f.get('Environment') or {}).get('Variables', {})), [v['Version'] for v in functions.list_versions_by_function(FunctionName=f['FunctionName'])['Versions']]]
            for f in sorted(functions.list_functions()['Functions'], key=lambda f: f['FunctionName'])
        }


def distribution():
    [summary] = client('cloudfront').list_distributions()['DistributionList']['Items']
    c = client('cloudfront').get_distribution_config(Id=summary['Id'])['DistributionConfig']
    behaviour = c['DefaultCacheBehavior']
    seen['distribution'] = {
        'aliases': c.get('Aliases', {}).get('Items'),
        'certificate': [c['ViewerCertificate'].get('MinimumProtocolVersion'), c['ViewerCertificate'].get('ACMCertificateArn', '').split(':')[3:4]],
        'origin': [[o['DomainName'], o.get('CustomOriginConfig', {}).get('OriginProtocolPolicy')] for o in c['Origins']['Items']],
        'viewers': behaviour['ViewerProtocolPolicy'],
        'first asks': [[f['EventType'], f['LambdaFunctionARN'].split(':')[-2:]] for f in behaviour.get('LambdaFunctionAssociations', {}).get('Items', [])],
        'log': [[d['deliverySourceName'], last(d['deliveryDestinationArn'].split(':')[-1])] for d in client('logs').describe_deliveries()['deliveries']],
    }


def balancers(region):
    elb = client('elbv2', region)
    seen['load balancers'] = {
        b['LoadBalancerName']: {
            'kind': [b['Type'], b['Scheme']],
            'listeners': [[l['Protocol'], l['Port']] for l in elb.describe_listeners(LoadBalancerArn=b['LoadBalancerArn'])['Listeners']],
            'targets': [[t['TargetType'], t['Protocol'], t['Port'], t.get('HealthCheckPath')] for t in elb.describe_target_groups()['TargetGroups']],
        }
        for b in elb.describe_load_balancers()['LoadBalancers']
    }


def volumes(region):
    seen['volumes'] = [[v['Size'], v['VolumeType'], v['AvailabilityZone'], v['Encrypted']] for v in client('ec2', region).describe_volumes()['Volumes'] if any(t['Key'] == 'landfall:platform' for t in v.get('Tags', []))]


def roles(*names):
    iam = client('iam')
    for name in names:
        role = iam.get_role(RoleName=name)['Role']
        seen[f'role {name}'] = {
            'trusts': role['AssumeRolePolicyDocument']['Statement'],
            'policies': sorted(p['PolicyName'] for p in iam.list_attached_role_policies(RoleName=name)['AttachedPolicies']) + sorted(iam.list_role_policies(RoleName=name)['PolicyNames']),
        }


def interruptions(region):
    seen['interruptions'] = {
        'queues': [q.split('/')[-1] for q in client('sqs', region).list_queues().get('QueueUrls', [])],
        'rules': sorted(json.dumps(json.loads(r['EventPattern'])['detail-type']) for r in client('events', region).list_rules()['Rules'] if 'EventPattern' in r),
    }


def senders(region):
    ses = client('sesv2', region)
    seen['senders'] = {i['IdentityName']: ses.get_email_identity(EmailIdentity=i['IdentityName']).get('MailFromAttributes', {}).get('MailFromDomain', '') for i in ses.list_email_identities()['EmailIdentities']}


def registries(region):
    ecr = client('ecr', region)
    seen['registries'] = {r['repositoryName']: [r['imageTagMutability'], r['imageScanningConfiguration'], [x['description'] for x in json.loads(ecr.get_lifecycle_policy(repositoryName=r['repositoryName'])['lifecyclePolicyText'])['rules']]] for r in ecr.describe_repositories()['repositories']}


# Ids that the emulator throws dice for, where they are part of names.
DICE = [
    (r'[0-9a-f]{8}(?=\.execute-api)', 'API'),
    (r'\bE[A-Z0-9]{12,13}\b', 'DISTRIBUTION'),
    (r'[0-9a-f]{32}(?=\._domainkey)', 'TOKEN'),
    (r'[a-z]+-[a-z]+-[0-9]_[0-9A-Za-z]{9}', 'POOL'),
]


def show():
    print('\n'.join(lines()))


def plain(text):
    for dice, name in DICE:
        text = re.sub(dice, name, text)
    return text


def lines():
    """Sorted once ids made by chance are taken out: services list in no order, and ids would make another."""
    for what in sorted(seen):
        yield what
        entries = seen[what].items() if isinstance(seen[what], dict) else [('', seen[what])]
        yield from sorted(plain('\n'.join(entry(key, value))) for key, value in entries)


def entry(key, value):
    long = len(json.dumps(value)) > 140
    if isinstance(value, list) and long:
        yield f'  {key}:'
        yield from (f'    {part if isinstance(part, str) else json.dumps(part, sort_keys=True)}' for part in value)
    elif isinstance(value, dict) and long:
        yield f'  {key}:'
        yield from sorted(plain(f'    {name}: {json.dumps(part, sort_keys=True)}') for name, part in value.items())
    else:
        yield f'  {key}: {json.dumps(value, sort_keys=True)}'
