# Everything planted that still stands, as the services themselves tell it. `ids`, `client` are given.
ec2, elb, classic, logs = client('ec2'), client('elbv2'), client('elb'), client('logs')
stands = []
stands += [v['VpcId'] for v in ec2.describe_vpcs()['Vpcs'] if not v.get('IsDefault')]
stands += [s['GroupId'] for s in ec2.describe_security_groups()['SecurityGroups'] if s['GroupName'] != 'default']
defaults = [s['VpcId'] for s in ec2.describe_security_groups()['SecurityGroups'] if s['GroupName'] == 'default']
stands += [n['NetworkInterfaceId'] for n in ec2.describe_network_interfaces()['NetworkInterfaces']]
stands += [e['VpcEndpointId'] for e in ec2.describe_vpc_endpoints()['VpcEndpoints'] if e['State'].lower() not in ('deleting', 'deleted')]
stands += [n['NatGatewayId'] for n in ec2.describe_nat_gateways()['NatGateways'] if n['State'] not in ('deleting', 'deleted')]
stands += [i['InstanceId'] for r in ec2.describe_instances()['Reservations'] for i in r['Instances'] if i['State']['Name'] not in ('terminated', 'shutting-down')]
stands += [v['VolumeId'] for v in ec2.describe_volumes()['Volumes']]
stands += [t['LaunchTemplateId'] for t in ec2.describe_launch_templates()['LaunchTemplates']]
stands += [l['LoadBalancerArn'] for l in elb.describe_load_balancers()['LoadBalancers']]
stands += [t['TargetGroupArn'] for t in elb.describe_target_groups()['TargetGroups']]
stands += [l['LoadBalancerName'] for l in classic.describe_load_balancers().get('LoadBalancerDescriptions', [])]
stands += [g['logGroupName'] for g in logs.describe_log_groups()['logGroups']]
named = {id: name for name, id in ids.items()}
print('\n'.join(sorted([named[s] for s in stands if s in named] + [s for s in stands if s.startswith('/')] + ['default group of ' + named[d] for d in defaults if d in named])))
