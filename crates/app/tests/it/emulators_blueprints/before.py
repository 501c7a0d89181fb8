# What was there before a platform: roles of IAM Identity Center and others, the zone of the domain, a client of
# another identity provider. Prints the zone's id.
iam = client('iam')
nobody = '{"Version":"2012-10-17","Statement":[]}'
for name in ('Administrator', 'Developer'):
    iam.create_role(
        RoleName=f'AWSReservedSSO_{name}_0123456789abcdef',
        Path='/aws-reserved/sso.amazonaws.com/',
        AssumeRolePolicyDocument=nobody,
    )
for name in ('break-glass', 'second', 'developers'):
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=nobody)
client('secretsmanager').create_secret(Name='keycloak', SecretString='{"clientSecret":"from-keycloak"}')
zone = client('route53').create_hosted_zone(Name='acme.example', CallerReference='before')
print(zone['HostedZone']['Id'].split('/')[-1])
