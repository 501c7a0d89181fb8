# Everything that stands in the account, one line for each thing: what a platform left is what was not there before.
# Things that the emulator makes for every account are in both lists.
found = []


def note(kind, names, region=''):
    found.extend(f'{region} {kind} {name}'.strip() for name in names)


for region in ('us-east-1', 'us-west-2'):
    at = lambda service: client(service, region)
    every = lambda kind, asked, *path: note(kind, [thing[path[-1]] for thing in asked[path[0]]], region)
    ec2 = at('ec2')
    every('network', ec2.describe_vpcs(), 'Vpcs', 'VpcId')
    every('subnet', ec2.describe_subnets(), 'Subnets', 'SubnetId')
    every('routes', ec2.describe_route_tables(), 'RouteTables', 'RouteTableId')
    every('internet gateway', ec2.describe_internet_gateways(), 'InternetGateways', 'InternetGatewayId')
    note('nat gateway', [n['NatGatewayId'] for n in ec2.describe_nat_gateways()['NatGateways'] if n['State'] != 'deleted'], region)
    every('address', ec2.describe_addresses(), 'Addresses', 'PublicIp')
    every('security group', ec2.describe_security_groups(), 'SecurityGroups', 'GroupId')
    every('endpoint', ec2.describe_vpc_endpoints(), 'VpcEndpoints', 'VpcEndpointId')
    every('flow log', ec2.describe_flow_logs(), 'FlowLogs', 'FlowLogId')
    every('volume', ec2.describe_volumes(), 'Volumes', 'VolumeId')
    every('interface', ec2.describe_network_interfaces(), 'NetworkInterfaces', 'NetworkInterfaceId')
    every('launch template', ec2.describe_launch_templates(), 'LaunchTemplates', 'LaunchTemplateId')
    note('cluster', at('eks').list_clusters()['clusters'], region)
    every('load balancer', at('elbv2').describe_load_balancers(), 'LoadBalancers', 'LoadBalancerName')
    every('target group', at('elbv2').describe_target_groups(), 'TargetGroups', 'TargetGroupName')
    every('log group', at('logs').describe_log_groups(), 'logGroups', 'logGroupName')
    every('delivery', at('logs').describe_deliveries(), 'deliveries', 'id')
    every('delivery source', at('logs').describe_delivery_sources(), 'deliverySources', 'name')
    every('delivery destination', at('logs').describe_delivery_destinations(), 'deliveryDestinations', 'name')
    every('log policy', at('logs').describe_resource_policies(), 'resourcePolicies', 'policyName')
    every('alias', at('kms').list_aliases(), 'Aliases', 'AliasName')
    kms = at('kms')
    note('key', [k['KeyId'] for k in kms.list_keys()['Keys'] if kms.describe_key(KeyId=k['KeyId'])['KeyMetadata']['KeyState'] != 'PendingDeletion'], region)
    every('secret', at('secretsmanager').list_secrets(), 'SecretList', 'Name')
    every('user pool', at('cognito-idp').list_user_pools(MaxResults=60), 'UserPools', 'Name')
    every('api', at('apigatewayv2').get_apis(), 'Items', 'Name')
    every('api host', at('apigatewayv2').get_domain_names(), 'Items', 'DomainName')
    every('function', at('lambda').list_functions(), 'Functions', 'FunctionName')
    every('certificate', at('acm').list_certificates(), 'CertificateSummaryList', 'DomainName')
    every('registry', at('ecr').describe_repositories(), 'repositories', 'repositoryName')
    note('queue', at('sqs').list_queues().get('QueueUrls', []), region)
    every('event rule', at('events').list_rules(), 'Rules', 'Name')
    every('sender', at('sesv2').list_email_identities(), 'EmailIdentities', 'IdentityName')
    note('sending set', at('sesv2').list_configuration_sets()['ConfigurationSets'], region)
    note('table', at('dynamodb').list_tables()['TableNames'], region)
    every('parameter', at('ssm').describe_parameters(), 'Parameters', 'Name')
    note('stack', [s['StackName'] for s in at('cloudformation').describe_stacks()['Stacks'] if s['StackStatus'] != 'DELETE_COMPLETE'], region)

iam = client('iam')
note('role', [r['RoleName'] for r in iam.list_roles()['Roles']])
note('policy', [p['PolicyName'] for p in iam.list_policies(Scope='Local')['Policies']])
note('user', [u['UserName'] for u in iam.list_users()['Users']])
note('machine role', [p['InstanceProfileName'] for p in iam.list_instance_profiles()['InstanceProfiles']])
note('identity provider', [p['Arn'] for p in iam.list_open_id_connect_providers()['OpenIDConnectProviderList']])
note('bucket', [b['Name'] for b in client('s3').list_buckets()['Buckets']])
route53 = client('route53')
for zone in route53.list_hosted_zones()['HostedZones']:
    records = route53.list_resource_record_sets(HostedZoneId=zone['Id'])['ResourceRecordSets']
    note('record', [f"{zone['Name']} {record['Type']} {record['Name']}" for record in records])
note('distribution', [d['Id'] for d in client('cloudfront').list_distributions()['DistributionList'].get('Items', [])])
print('\n'.join(sorted(found)))
