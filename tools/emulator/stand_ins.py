"""Starts ministack with stand-ins for CloudFormation types that it refuses by name.

A stand-in is a row of stand_ins.json. Where ministack has the service, the row names the calls that create and
delete the thing, and they are made with the values that CloudFormation worked out, in the order that CloudFormation
found: what is made is real to the emulator. Where it has not, the row says what `Ref` and `Fn::GetAtt` give, and
nothing is made. Parsing, conditions, references, order, change sets, events, rollback and deletion are ministack's own.

Besides, `main` puts right what would keep whole platforms from being tried: each line there says what.
"""

import base64
import hashlib
import json
import os
import pathlib
import re
import socket

import boto3
import jmespath
import ministack.app
import ministack.services.eks
import ministack.services.ssm
from ministack.core.responses import get_account_id, get_region
from ministack.services.cloudformation import provisioners, stacks

import spot

STAND_INS = json.loads(pathlib.Path(__file__).with_name("stand_ins.json").read_text())
ROWS = STAND_INS["types"]
CLIENTS = {}
# What was told of things that were made: they are not always deleted by what `Ref` gives.
FOUND = {}


def client(service):
    """A client of the emulator itself, in the account and region of the stack."""
    place = (service, get_account_id(), get_region())
    if place not in CLIENTS:
        CLIENTS[place] = boto3.client(
            service,
            region_name=place[2],
            endpoint_url=f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
            aws_access_key_id=place[1],
            aws_secret_access_key="test",
            aws_session_token="test",
        )
    return CLIENTS[place]


def fitted(value, shape):
    """A template's value as the API wants it: names in its spelling, texts as numbers and booleans.

    A property that the API does not have stays, for boto3 to refuse.
    """
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        names = {name.lower(): name for name in shape.members}
        spelled = {names.get(key.lower(), key): part for key, part in value.items()}
        return {
            key: fitted(part, shape.members[key]) if key in shape.members else part
            for key, part in spelled.items()
        }
    if kind == "map" and isinstance(value, list):
        value = {tag["Key"]: tag["Value"] for tag in value}
    if kind == "map" and isinstance(value, dict):
        return {key: fitted(part, shape.value) for key, part in value.items()}
    if kind == "list":
        return [fitted(part, shape.member) for part in (value if isinstance(value, list) else [value])]
    if kind in ("integer", "long"):
        return int(value)
    if kind == "boolean":
        return str(value).lower() == "true"
    if kind == "string" and isinstance(value, (dict, list)):
        return json.dumps(value)
    return str(value) if kind == "string" else value


MISSING = object()


def filled(template, words):
    """A row's template, with every `{...}` in it filled.

    What names a property that is not given is left out, and a structure whose first part is left out is left out.
    """
    if isinstance(template, dict):
        parts = {key: filled(part, words) for key, part in template.items()}
        if template and next(iter(parts.values())) is MISSING:
            return MISSING
        return {key: part for key, part in parts.items() if part is not MISSING}
    if isinstance(template, list):
        parts = [part for part in (filled(part, words) for part in template) if part is not MISSING]
        return parts if parts or not template else MISSING
    try:
        return template.format_map(words) if isinstance(template, str) else template
    except KeyError:
        return MISSING


def call(name, parameters):
    """Makes one call, such as `ec2.allocate_address`."""
    service, operation = name.split(".")
    asked = client(service)
    shape = asked.meta.service_model.operation_model(asked.meta.method_to_api_mapping[operation]).input_shape
    return getattr(asked, operation)(**fitted(parameters, shape))


def words_of(properties, **more):
    """What `{...}` in a row may name: the place, properties that are texts or numbers, and what is given."""
    words = {key: str(part) for key, part in properties.items() if not isinstance(part, (dict, list))}
    return {**words, "account": get_account_id(), "region": get_region(), **more}


def create(kind, logical_id, properties, stack_name):
    row = ROWS[kind]
    # Differs from thing to thing, and is the same whenever this one is made.
    digest = hashlib.sha256(f"{get_account_id()}/{get_region()}/{stack_name}/{logical_id}".encode()).hexdigest()
    words = words_of(properties, name=f"{stack_name}-{logical_id}", hash=digest[:17])
    if "create" not in row:
        ref = row["ref"].format_map(words)
        return ref, filled(row.get("attributes", {}), {**words, "ref": ref})
    wanted = {
        row.get("renamed", {}).get(key, key): part for key, part in properties.items() if key not in row.get("apart", [])
    }
    wanted = {**filled(row.get("given", {}), words), **wanted}
    if "tagged" in row and "Tags" in wanted:
        wanted["TagSpecifications"] = [{"ResourceType": row["tagged"], "Tags": wanted.pop("Tags")}]
    answer = call(row["create"], wanted)
    ref = row["ref"].format_map(words) if "{" in row["ref"] else jmespath.search(row["ref"], answer)
    if not ref:
        raise ValueError(f"{row['create']} gave no {row['ref']}: {answer}")
    for step in row.get("then", []):
        if any(properties.get(key, only) != only for key, only in step.get("only", {}).items()):
            continue
        for each in properties.get(step["each"], []):
            call(step["call"], {**filled(step["with"], {**words, "ref": ref}), **each})
    found = {name: jmespath.search(path, answer) for name, path in row.get("attributes", {}).items()}
    FOUND[kind, ref] = {name: value for name, value in found.items() if value is not None}
    return ref, FOUND[kind, ref]


def delete(kind, ref, properties):
    row = ROWS[kind]
    if "delete" not in row:
        return
    words = words_of(properties, ref=ref, **FOUND.pop((kind, ref), {}))
    # Nothing may be gone already: whatever is removed before its time is a mistake of somebody's.
    call(row["delete"], filled(row["deleteBy"], words))


def create_cluster(logical_id, properties, stack_name):
    """A cluster through EKS's own API, with the security group that EKS makes beside it.

    ministack's handler passes on little of what a template says, and names a group that nobody made.
    """
    wanted = {
        key[0].lower() + key[1:]: part
        for key, part in properties.items()
        if key not in ("Logging", "ResourcesVpcConfig", "Tags")
    }
    fields = provisioners._eks_cluster_fields(properties)
    wanted["logging"] = fields["logging"]
    wanted["resourcesVpcConfig"] = properties["ResourcesVpcConfig"]
    wanted["tags"] = properties.get("Tags", [])
    name = call("eks.create_cluster", wanted)["cluster"]["name"]
    subnets = properties["ResourcesVpcConfig"]["SubnetIds"]
    network = client("ec2").describe_subnets(SubnetIds=subnets[:1])["Subnets"][0]["VpcId"]
    group = client("ec2").create_security_group(
        GroupName=f"eks-cluster-sg-{name}-1",
        Description="EKS created security group applied to ENI that is attached to EKS Control Plane master nodes",
        VpcId=network,
        TagSpecifications=[
            {
                "ResourceType": "security-group",
                "Tags": [
                    {"Key": f"kubernetes.io/cluster/{name}", "Value": "owned"},
                    {"Key": "aws:eks:cluster-name", "Value": name},
                ],
            }
        ],
    )
    cluster = ministack.services.eks._clusters[name]
    cluster["resourcesVpcConfig"].update({"vpcId": network, "clusterSecurityGroupId": group["GroupId"]})
    # Nothing answers at its endpoint, so nothing is certified.
    cluster["certificateAuthority"]["data"] = base64.b64encode(b"no certificate").decode()
    return name, provisioners._eks_cluster_attrs(cluster)


def delete_cluster(ref, properties):
    group = client("eks").describe_cluster(name=ref)["cluster"]["resourcesVpcConfig"]["clusterSecurityGroupId"]
    client("eks").delete_cluster(name=ref)
    client("ec2").delete_security_group(GroupId=group)


def update(kind, ref, before, properties, stack_name, logical_id):
    """A changed thing is made anew: most have names, so the old one goes first."""
    delete(kind, ref, before)
    return create(kind, logical_id, properties, stack_name)


CREATE_SENDER = provisioners._RESOURCE_HANDLERS["AWS::SES::EmailIdentity"]["create"]


def create_sender(logical_id, properties, stack_name):
    """A sender through SES's own API, which makes signing keys, and then as ministack's handler completes it.

    The handler alone makes no keys, and gives no attributes for their DNS records.
    """
    made = client("sesv2").create_email_identity(EmailIdentity=properties["EmailIdentity"])
    ref, found = CREATE_SENDER(logical_id, properties, stack_name)
    tokens = made["DkimAttributes"].get("Tokens", [])
    for number, token in enumerate(tokens, start=1):
        found[f"DkimDNSTokenName{number}"] = f"{token}._domainkey.{ref}"
        found[f"DkimDNSTokenValue{number}"] = f"{token}.dkim.amazonses.com"
    return ref, found


BY_HAND = {
    "AWS::EKS::Cluster": {"create": create_cluster, "delete": delete_cluster},
    "AWS::SES::EmailIdentity": {
        "create": create_sender,
        "delete": provisioners._RESOURCE_HANDLERS["AWS::SES::EmailIdentity"]["delete"],
    },
}


def fit(kind, like):
    """Gives ministack's handler numbers and booleans where the service has them, as CloudFormation does: it hands on
    the texts that parameters are."""
    service, operation = like.split(".")
    made = provisioners._RESOURCE_HANDLERS[kind]["create"]

    def create(logical_id, properties, stack_name):
        model = client(service).meta
        shape = model.service_model.operation_model(model.method_to_api_mapping[operation]).input_shape
        return made(logical_id, fitted(properties, shape), stack_name)

    provisioners._RESOURCE_HANDLERS[kind]["create"] = create


def register(kind, row):
    by_row = {
        "update": lambda ref, before, properties, stack_name, logical_id: update(
            kind, ref, before, properties, stack_name, logical_id
        ),
        "update_with_logical_id": True,
        **provisioners._RESOURCE_HANDLERS.get(kind, {}),
        "create": lambda logical_id, properties, stack_name: create(kind, logical_id, properties, stack_name),
        "delete": lambda ref, properties: delete(kind, ref, properties),
    }
    provisioners._RESOURCE_HANDLERS[kind] = {**by_row, **BY_HAND.get(kind, {})}
    # A stack's tags reach its things, in the form their `Tags` have.
    if row.get("tags"):
        provisioners._STACK_TAG_PROPERTY[kind] = ("Tags", row["tags"])


def resolved(host, *rest, _resolve=socket.getaddrinfo, **more):
    """Names below `localhost` are this machine (RFC 6761); not every machine's resolver knows."""
    is_here = isinstance(host, str) and host.endswith(".localhost")
    return _resolve("127.0.0.1" if is_here else host, *rest, **more)


def main():
    socket.getaddrinfo = resolved
    for kind, row in ROWS.items():
        register(kind, row)
    for kind, like in STAND_INS["numbers"].items():
        fit(kind, like)
    # What calls the emulator while it is making a stack must not hold up the emulator.
    blocks = stacks._runs_on_worker_thread
    stacks._runs_on_worker_thread = lambda kind: kind in ROWS or blocks(kind)
    # What AWS publishes in every account; nobody may write there.
    ministack.services.ssm._PUBLIC_AMI_PARAMETERS.update(STAND_INS["published parameters"])
    # A type of machines' roles that is newer than ministack's list.
    ministack.services.eks._VALID_ACCESS_ENTRY_TYPES += ("EC2",)
    # Functions find Spot here.
    os.environ["LANDFALL_SPOT"] = spot.start()
    # APIs answer at the host that AWS gives them, too.
    ministack.app._EXECUTE_API_RE = re.compile(
        r"^([a-f0-9]{8})\.execute-api\.(?:localhost|[a-z0-9-]+\.amazonaws\.com)(?::\d+)?$"
    )
    ministack.app.main()


if __name__ == "__main__":
    main()
