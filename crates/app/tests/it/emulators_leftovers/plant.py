# What is planted before a search. `plant` notes what the emulator lacks instead of failing. `client` and
# `account` are given.
import time
template = '''
Resources:
  Vpc: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.0.0.0/16}}
  A: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref Vpc, CidrBlock: 10.0.1.0/24, AvailabilityZone: us-east-1a}}
  B: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref Vpc, CidrBlock: 10.0.2.0/24, AvailabilityZone: us-east-1b}}
  Nodes: {Type: AWS::EC2::SecurityGroup, Properties: {GroupDescription: nodes, VpcId: !Ref Vpc}}
  Role: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: {Version: '2012-10-17', Statement: []}}}
  Cluster: {Type: AWS::EKS::Cluster, Properties: {Name: acme-eks, RoleArn: !GetAtt Role.Arn, ResourcesVpcConfig: {SubnetIds: [!Ref A, !Ref B]}}}
  Group: {Type: AWS::EKS::Nodegroup, Properties: {ClusterName: !Ref Cluster, NodegroupName: workers, NodeRole: !GetAtt Role.Arn, Subnets: [!Ref A]}}
  Job: {Type: AWS::Lambda::Function, Properties: {FunctionName: acme-job, Handler: index.handler, Runtime: python3.12, Role: !GetAtt Role.Arn, Code: {ZipFile: 'def handler(event, context): return 1'}}}
  Logs: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: /aws/eks/acme-eks/audit}}
'''
ids, lacks = {}, {}
def plant(name, make):
    try:
        ids[name] = make()
        return ids[name]
    except Exception as error:
        lacks[name] = str(error)[:200]

def tagged(kind, tags):
    return [{'ResourceType': kind, 'Tags': pairs(tags)}]
def pairs(tags):
    return [{'Key': k, 'Value': v} for k, v in tags.items()]

cf, ec2, elb, classic, logs = client('cloudformation'), client('ec2'), client('elbv2'), client('elb'), client('logs')
ids['STACK'] = cf.create_stack(StackName='acme-net', TemplateBody=template, Capabilities=['CAPABILITY_IAM'],
    Tags=pairs({'landfall:platform': 'acme', 'landfall:component': 'net', 'landfall:step': 'net'}))['StackId']
for _ in range(100):
    status = cf.describe_stacks(StackName='acme-net')['Stacks'][0]['StackStatus']
    if status == 'CREATE_COMPLETE': break
    time.sleep(0.1)
assert status == 'CREATE_COMPLETE', status
made = {r['LogicalResourceId']: r['PhysicalResourceId'] for r in cf.list_stack_resources(StackName='acme-net')['StackResourceSummaries'] if r.get('PhysicalResourceId')}
for logical, name in (('Vpc', 'vpc-OURS'), ('A', 'subnet-a'), ('B', 'subnet-b'), ('Nodes', 'sg-nodes')):
    ids[name] = made[logical]
vpc, a, b, nodes = made['Vpc'], made['A'], made['B'], made['Nodes']

# What controllers of the cluster make.
lbc = {'elbv2.k8s.aws/cluster': 'acme-eks'}
karpenter = {'karpenter.sh/nodepool': 'default', 'eks:eks-cluster-name': 'acme-eks', 'kubernetes.io/cluster/acme-eks': 'owned'}
def group(name, network, tags):
    specs = {'TagSpecifications': tagged('security-group', tags)} if tags else {}
    return plant(name, lambda: ec2.create_security_group(GroupName=name, Description=name, VpcId=network, **specs)['GroupId'])
traffic, managed = group('sg-traffic', vpc, lbc), group('sg-managed', vpc, lbc)
for of, to in ((traffic, managed), (managed, traffic), (nodes, traffic)):
    ec2.authorize_security_group_ingress(GroupId=of, IpPermissions=[{'IpProtocol': 'tcp', 'FromPort': 80, 'ToPort': 80, 'UserIdGroupPairs': [{'GroupId': to}]}])
def balancer(name, subnets, groups, tags):
    return plant(name, lambda: elb.create_load_balancer(Name=name, Subnets=subnets, SecurityGroups=groups, Tags=pairs(tags))['LoadBalancers'][0]['LoadBalancerArn'])
def targets(name, network, tags):
    return plant(name, lambda: elb.create_target_group(Name=name, Protocol='HTTP', Port=80, VpcId=network, Tags=pairs(tags))['TargetGroups'][0]['TargetGroupArn'])
web, web_targets = balancer('k8s-web', [a, b], [traffic, managed], lbc), targets('k8s-targets', vpc, lbc)
elb.create_listener(LoadBalancerArn=web, Protocol='HTTP', Port=80, DefaultActions=[{'Type': 'forward', 'TargetGroupArn': web_targets}])
def old_balancer():
    classic.create_load_balancer(LoadBalancerName='a1b2', Subnets=[a], SecurityGroups=[traffic], Tags=pairs({'kubernetes.io/cluster/acme-eks': 'owned'}),
        Listeners=[{'Protocol': 'TCP', 'LoadBalancerPort': 80, 'InstancePort': 80}])
    return 'a1b2'
plant('classic', old_balancer)
plant('eni-free', lambda: ec2.create_network_interface(SubnetId=a, Groups=[traffic], Description='aws-K8S-i-1')['NetworkInterface']['NetworkInterfaceId'])
def disk(name, tags):
    return plant(name, lambda: ec2.create_volume(AvailabilityZone='us-east-1a', Size=20, TagSpecifications=tagged('volume', tags))['VolumeId'])
disk('vol-claim', {'kubernetes.io/cluster/acme-eks': 'owned', 'ebs.csi.aws.com/cluster': 'true', 'CSIVolumeName': 'pvc-1'})
disk('vol-tagged', {'landfall:platform': 'acme'})
plant('instance', lambda: ec2.run_instances(ImageId='ami-12345678', MinCount=1, MaxCount=1, SubnetId=a, TagSpecifications=tagged('instance', karpenter))['Instances'][0]['InstanceId'])
plant('template', lambda: ec2.create_launch_template(LaunchTemplateName='karpenter.k8s.aws/1', LaunchTemplateData={'ImageId': 'ami-12345678'}, TagSpecifications=tagged('launch-template', {'karpenter.k8s.aws/cluster': 'acme-eks'}))['LaunchTemplate']['LaunchTemplateId'])
plant('template-nodes', lambda: ec2.create_launch_template(LaunchTemplateName='eks-1', LaunchTemplateData={'ImageId': 'ami-12345678'}, TagSpecifications=tagged('launch-template', {'eks:cluster-name': 'acme-eks', 'eks:nodegroup-name': 'workers'}))['LaunchTemplate']['LaunchTemplateId'])
plant('vpce-gateway', lambda: ec2.create_vpc_endpoint(VpcId=vpc, ServiceName='com.amazonaws.us-east-1.s3', VpcEndpointType='Gateway')['VpcEndpoint']['VpcEndpointId'])
plant('vpce-interface', lambda: ec2.create_vpc_endpoint(VpcId=vpc, ServiceName='com.amazonaws.us-east-1.ecr.api', VpcEndpointType='Interface', SubnetIds=[b])['VpcEndpoint']['VpcEndpointId'])
plant('nat', lambda: ec2.create_nat_gateway(SubnetId=a, AllocationId=ec2.allocate_address(Domain='vpc')['AllocationId'])['NatGateway']['NatGatewayId'])
def log(name, tags={}):
    logs.create_log_group(logGroupName=name, tags=tags)
for name in ('/aws/eks/acme-eks/cluster', '/aws/containerinsights/acme-eks/application', '/aws/lambda/acme-job'):
    log(name)

# What is gone, or as good as gone.
gone = plant('gone-instance', lambda: ec2.run_instances(ImageId='ami-12345678', MinCount=1, MaxCount=1, SubnetId=a, TagSpecifications=tagged('instance', karpenter))['Instances'][0]['InstanceId'])
if gone: ec2.terminate_instances(InstanceIds=[gone])
secrets = client('secretsmanager')
secrets.create_secret(Name='acme-gone', SecretString='x', Tags=pairs({'landfall:platform': 'acme'}))
secrets.delete_secret(SecretId='acme-gone')
ids['secret-of-step'] = secrets.create_secret(Name='acme-key', SecretString='x', Tags=pairs({'landfall:platform': 'acme', 'landfall:component': 'web', 'landfall:step': 'key'}))['ARN']

# Somebody else's.
other = plant('vpc-other', lambda: ec2.create_vpc(CidrBlock='10.9.0.0/16')['Vpc']['VpcId'])
c = plant('subnet-c', lambda: ec2.create_subnet(VpcId=other, CidrBlock='10.9.1.0/24', AvailabilityZone='us-east-1a')['Subnet']['SubnetId'])
d = plant('subnet-d', lambda: ec2.create_subnet(VpcId=other, CidrBlock='10.9.2.0/24', AvailabilityZone='us-east-1b')['Subnet']['SubnetId'])
foreign = group('sg-other', other, {'elbv2.k8s.aws/cluster': 'acme-eks-2'})
group('sg-guest', vpc, {'landfall:platform': 'acme-dev'})
neighbour = group('sg-neighbour', vpc, {'kubernetes.io/cluster/team-b': 'owned'})
balancer('neighbour-web', [a, b], [neighbour], {'elbv2.k8s.aws/cluster': 'team-b'})
targets('neighbour-targets', vpc, {'elbv2.k8s.aws/cluster': 'team-b'})
plant('neighbour', lambda: ec2.run_instances(ImageId='ami-12345678', MinCount=1, MaxCount=1, SubnetId=a, TagSpecifications=tagged('instance', {'eks:eks-cluster-name': 'team-b'}))['Instances'][0]['InstanceId'])
balancer('other-web', [c, d], [foreign], {'elbv2.k8s.aws/cluster': 'acme-eks-2'})
targets('other-targets', other, {'elbv2.k8s.aws/cluster': 'acme-eks-2'})
plant('eni-other', lambda: ec2.create_network_interface(SubnetId=c, Groups=[foreign])['NetworkInterface']['NetworkInterfaceId'])
disk('vol-dev', {'landfall:platform': 'acme-dev'})
disk('vol-shared', {'kubernetes.io/cluster/acme-eks': 'shared'})
plant('template-other', lambda: ec2.create_launch_template(LaunchTemplateName='other', LaunchTemplateData={'ImageId': 'ami-12345678'}, TagSpecifications=tagged('launch-template', {'karpenter.k8s.aws/cluster': 'acme-eks-2'}))['LaunchTemplate']['LaunchTemplateId'])
client('sqs').create_queue(QueueName='acme-dev-queue', tags={'landfall:platform': 'acme-dev'})
log('/aws/lambda/acme-dev-job')
log('/aws/lambda/acme-job-of-others')
log('/aws/codebuild/acme-others')
log('/aws/eks/acme-eks-2/cluster')

# Interfaces that EC2 made for other things.
for e in ec2.describe_vpc_endpoints()['VpcEndpoints']:
    for n, id in enumerate(e.get('NetworkInterfaceIds', [])): ids['eni-of-endpoint'] = id
for n in ec2.describe_nat_gateways()['NatGateways']:
    for address in n['NatGatewayAddresses']:
        if address.get('NetworkInterfaceId'): ids['eni-of-nat'] = address['NetworkInterfaceId']
for i in ec2.describe_network_interfaces()['NetworkInterfaces']:
    for name in ('instance', 'gone-instance', 'neighbour'):
        if i.get('Attachment', {}).get('InstanceId') == ids.get(name): ids['eni-of-' + name] = i['NetworkInterfaceId']
print(json.dumps({'ids': ids, 'lacks': lacks, 'resources': sorted(made)}))
