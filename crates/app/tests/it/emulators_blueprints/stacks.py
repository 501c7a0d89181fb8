# The types of all things in all stacks, as CloudFormation lists them.
kinds = []
for region in ('us-east-1', 'us-west-2'):
    cloudformation = client('cloudformation', region)
    for stack in cloudformation.describe_stacks()['Stacks']:
        if stack['StackStatus'] != 'DELETE_COMPLETE':
            kinds += [one['ResourceType'] for one in cloudformation.describe_stack_resources(StackName=stack['StackName'])['StackResources']]
print(json.dumps(kinds))
