# Calls to the two APIs, as clients make them: at the APIs' own hosts, with tokens of the emulator's Cognito.
import base64
import hashlib
import html
import http.client
import re
import urllib.parse

cognito, secrets = client('cognito-idp'), client('secretsmanager')
emulator = cognito.meta.endpoint_url.removeprefix('http://')
[pool] = [p['Id'] for p in cognito.list_user_pools(MaxResults=60)['UserPools']]
clients = {c['ClientName']: c['ClientId'] for c in cognito.list_user_pool_clients(UserPoolId=pool, MaxResults=60)['UserPoolClients']}
kept = {}
for secret in secrets.list_secrets()['SecretList']:
    value = json.loads(secrets.get_secret_value(SecretId=secret['ARN'])['SecretString'])
    kept[value.get('clientId')] = value


def ask(method, path, host=None, body=None, headers=None):
    connection = http.client.HTTPConnection(emulator)
    connection.request(method, path, body, {**({'host': host} if host else {}), **(headers or {})})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), answer.headers


def token(**form):
    """The token endpoint's answer, with the secret of a client that has one."""
    secret = kept.get(form['client_id'])
    headers = {'content-type': 'application/x-www-form-urlencoded'}
    if secret:
        pair = f"{secret['clientId']}:{secret['clientSecret']}"
        headers['authorization'] = 'Basic ' + base64.b64encode(pair.encode()).decode()
    status, text, _ = ask('POST', '/oauth2/token', body=urllib.parse.urlencode(form), headers=headers)
    return status, json.loads(text)


machine = clients['acme-api-machine']
status, good = token(grant_type='client_credentials', client_id=machine, scope='api/read')
print('a token for the machine:', status, good['token_type'], good['expires_in'])
status, narrow = token(grant_type='client_credentials', client_id=machine, scope='api/write')
print('a token for another scope:', status)
status, refused = token(grant_type='client_credentials', client_id=clients['acme-api-public'])
print('a token for the public client without a code:', status, refused.get('error'))

# A person signs in on the pages and brings a code, to the client that cannot keep a secret.
person, password = 'ann@acme.example', 'a-Long-Passphrase-7'
cognito.admin_create_user(UserPoolId=pool, Username=person, MessageAction='SUPPRESS', TemporaryPassword=password, UserAttributes=[{'Name': 'email', 'Value': person}])
cognito.admin_set_user_password(UserPoolId=pool, Username=person, Password=password, Permanent=True)
verifier = 'v' * 64
asked = {
    'client_id': clients['acme-api-public'],
    'response_type': 'code',
    'scope': 'openid email',
    'redirect_uri': 'http://localhost:3000/callback',
    'code_challenge_method': 'S256',
    'code_challenge': base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip('='),
}


def code():
    status, page, _ = ask('GET', '/oauth2/authorize?' + urllib.parse.urlencode(asked))
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
    form = urllib.parse.urlencode({**{name: html.unescape(value) for name, value in hidden.items()}, 'username': person, 'password': password})
    status, _, headers = ask('POST', '/login', body=form, headers={'content-type': 'application/x-www-form-urlencoded'})
    back = urllib.parse.urlsplit(headers.get('location', ''))
    return status, urllib.parse.parse_qs(back.query).get('code', [''])[0]


status, one = code()
exchange = {'grant_type': 'authorization_code', 'client_id': asked['client_id'], 'redirect_uri': asked['redirect_uri']}
print('a code for a person:', status, bool(one))
status, refused = token(**exchange, code=one, code_verifier='w' * 64)
print('the code without its verifier:', status, refused.get('error'))
status, signed_in = token(**exchange, code=code()[1], code_verifier=verifier)
print('the code with its verifier:', status, sorted(signed_in))
asked['redirect_uri'] = 'https://elsewhere.example/callback'
print('a code to be sent elsewhere:', ask('GET', '/oauth2/authorize?' + urllib.parse.urlencode(asked))[0])

header, claims, signature = good['access_token'].split('.')
decoded = lambda part: json.loads(base64.urlsafe_b64decode(part + '=='))
encoded = lambda part: base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip('=')
said = decoded(claims)
print('it says:', decoded(header)['alg'], said['token_use'], said['scope'], said['client_id'] == machine, said['iss'].endswith('/' + pool))
tokens = {
    'no token': None,
    'a good token': good['access_token'],
    'without "Bearer"': good['access_token'],
    'a token for another scope': narrow['access_token'],
    'a changed signature': f'{header}.{claims}.{signature[:-6]}AAAAAA',
    'changed claims': f"{header}.{encoded({**said, 'exp': said['exp'] + 86400})}.{signature}",
    'no signature at all': f"{encoded({'alg': 'none'})}.{claims}.",
    'something else': 'not-a-token',
    'a token of another client': signed_in.get('access_token'),
    'an id token': signed_in.get('id_token'),
}
for name in ('acme-api-function-api', 'acme-api-native-api'):
    [api] = [a['ApiId'] for a in client('apigatewayv2').get_apis()['Items'] if a['Name'] == name]
    print(name)
    for what, bearer in tokens.items():
        headers = {'authorization': bearer if what.startswith('without') else f'Bearer {bearer}'} if bearer else {}
        status, text, _ = ask('GET', '/things/one?of=mine', f'{api}.execute-api.us-east-1.amazonaws.com', headers=headers)
        print(f'  {what}: {status} {text}')
    status, text, _ = ask('GET', '/', f'{api}.execute-api.us-east-1.amazonaws.com', headers={'authorization': f"Bearer {good['access_token']}"})
    print(f'  the root, with a good token: {status} {text}')
print('why the function refused')
events = client('logs').filter_log_events(logGroupName='/aws/lambda/acme-api-authorizer-function')['events']
for event in events:
    if event['message'].startswith('{"refused"'):
        print(' ', json.loads(event['message'])['refused'])
