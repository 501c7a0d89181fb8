# What stands, as moto's services tell it, and what its stacks only list: moto passes over types it does not know.
listed = [one.get('ResourceType', 'nothing was made of it') for stack in client('cloudformation').describe_stacks()['Stacks'] if 'DELETE' not in stack['StackStatus'] for one in client('cloudformation').describe_stack_resources(StackName=stack['StackName'])['StackResources']]
iam = client('iam')
ecr = client('ecr')
print(json.dumps({
    'listed': sorted(listed),
    'buckets': [b['Name'].replace(account, 'ACCOUNT') for b in client('s3').list_buckets()['Buckets']],
    'registries': {r['repositoryName']: r['imageTagMutability'] for r in ecr.describe_repositories()['repositories']},
    'roles': {r['RoleName'].split('-Role-')[0]: r['AssumeRolePolicyDocument']['Statement'][0].get('Condition') for r in iam.list_roles()['Roles']},
    'secrets': sorted(s['Name'] for s in client('secretsmanager').list_secrets()['SecretList']),
    'detectors': len(client('guardduty').list_detectors()['DetectorIds']),
    'functions': {f['FunctionName'].split('-Function-')[0]: f['Runtime'] for f in client('lambda').list_functions()['Functions']},
    'log groups': {g['logGroupName']: g.get('retentionInDays') for g in client('logs').describe_log_groups()['logGroups']},
}, indent=1, sort_keys=True))
