"""Lets parliament judge every IAM policy in rendered CloudFormation templates.

parliament reads plain policy documents, so intrinsic functions and conditions are resolved first, with
the parameters that `landfall render` wrote beside each template; a value known only after a deployment
gets a placeholder of its kind. Prints one line for each policy; exits with 1 on a finding that is not
expected below.

usage: judge_policies.py FOLDER
"""

import json
import pathlib
import sys

import cfnlint.decode
import parliament

ACCOUNT, REGION = "111122223333", "us-east-1"

# Findings that are as they should be, with the reason.
EXPECTED = {
    "RESOURCE_STAR": "the actions are lists of whole services, given as inputs; the permissions boundary limits them",
    "MISMATCHED_TYPE_BUT_USABLE": "AWS documents StringEquals for iam:PermissionsBoundary, an ARN",
    "UNKNOWN_CONDITION_FOR_ACTION": "elasticloadbalancing:CreateAction, which the load balancer controller's published policy uses and parliament does not know",
    "RESOURCE_MISMATCH": "an Allow with NotResource excludes the state; parliament reads the exclusion as the target",
}
PLACEHOLDERS = {
    "arn": f"arn:aws:iam::{ACCOUNT}:policy/placeholder",
    "bucket": "arn:aws:s3:::placeholder-bucket",
    "table": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/placeholder",
    "provider": f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com",
}
NOTHING = object()


class Template:
    def __init__(self, path):
        self.body, _ = cfnlint.decode.decode(str(path))
        given = {p["ParameterKey"]: p["ParameterValue"] for p in json.loads((path.parent / "parameters.json").read_text())}
        self.parameters = {}
        for name, declared in self.body.get("Parameters", {}).items():
            value = given.get(name, declared.get("Default", ""))
            if isinstance(value, str) and value.startswith("(known once"):
                kind = next((k for k in ("bucket", "table", "provider") if k in name.lower()), "arn")
                value = PLACEHOLDERS[kind]
            if declared["Type"] in ("CommaDelimitedList", "List<String>"):
                value = [part.strip() for part in str(value).split(",")] if value != "" else []
            self.parameters[name] = value

    def reference(self, name):
        pseudo = {
            "AWS::AccountId": ACCOUNT, "AWS::Region": REGION, "AWS::Partition": "aws", "AWS::NoValue": NOTHING,
            "AWS::URLSuffix": "amazonaws.com", "AWS::StackName": "stack",
        }
        if name in pseudo:
            return pseudo[name]
        if name in self.parameters:
            return self.parameters[name]
        kind = self.body["Resources"][name]["Type"].lower()
        return "placeholder-bucket" if "s3" in kind else f"arn:aws:iam::{ACCOUNT}:policy/{name}"

    def attribute(self, name, attribute):
        kind = self.body["Resources"][name]["Type"]
        if kind == "AWS::S3::Bucket":
            return PLACEHOLDERS["bucket"] if attribute == "Arn" else "placeholder-bucket"
        return PLACEHOLDERS["table"] if kind == "AWS::DynamoDB::Table" else f"arn:aws:iam::{ACCOUNT}:role/{name}"

    def condition(self, name):
        return self.resolve(self.body["Conditions"][name])

    def resolve(self, value):
        if isinstance(value, list):
            items = [self.resolve(item) for item in value]
            return [item for item in items if item is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (function, argument), = value.items()
            handler = getattr(self, "fn_" + function.replace("Fn::", "").lower(), None)
            if handler and (function.startswith("Fn::") or function in ("Ref", "Condition")):
                return handler(argument)
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not NOTHING}

    def fn_ref(self, name):
        return self.reference(name)

    def fn_condition(self, name):
        # In a policy statement `Condition` is a mapping; only a name refers to a template's condition.
        if isinstance(name, str):
            return self.condition(name)
        return {"Condition": self.resolve(name)}

    def fn_getatt(self, argument):
        name, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
        return self.attribute(name, attribute)

    def fn_sub(self, argument):
        text, values = argument if isinstance(argument, list) else (argument, {})
        out, rest = "", text
        while "${" in rest:
            before, rest = rest.split("${", 1)
            name, rest = rest.split("}", 1)
            out += before
            if name.startswith("!"):
                out += "${" + name[1:] + "}"
            elif name in values:
                out += str(self.resolve(values[name]))
            elif "." in name and name.split(".")[0] in self.body["Resources"]:
                out += self.attribute(*name.split(".", 1))
            else:
                out += str(self.reference(name))
        return out + rest

    def fn_join(self, argument):
        separator, parts = argument
        return separator.join(str(part) for part in self.resolve(parts))

    def fn_split(self, argument):
        separator, text = argument
        return str(self.resolve(text)).split(separator)

    def fn_select(self, argument):
        index, parts = argument
        return self.resolve(parts)[int(self.resolve(index))]

    def fn_if(self, argument):
        name, yes, no = argument
        return self.resolve(yes if self.condition(name) else no)

    def fn_equals(self, argument):
        first, second = self.resolve(argument)
        return str(first) == str(second)

    def fn_not(self, argument):
        return not self.resolve(argument[0])

    def fn_and(self, argument):
        return all(self.resolve(item) for item in argument)

    def fn_or(self, argument):
        return any(self.resolve(item) for item in argument)

    def policies(self):
        """Every policy: its name, itself, and whether it grants anything by itself."""
        for name, resource in self.body["Resources"].items():
            if "Condition" in resource and not self.condition(resource["Condition"]):
                continue
            properties = resource.get("Properties", {})
            # A user pool has policies of another kind.
            is_iam = resource["Type"].startswith("AWS::IAM::")
            for inline in properties.get("Policies", []) if is_iam else []:
                inline = self.resolve(inline)
                if inline is not NOTHING:
                    yield f"{name}/{inline['PolicyName']}", inline["PolicyDocument"], True
            if "PolicyDocument" in properties:
                # The policy of an endpoint only narrows what others grant.
                yield name, self.resolve(properties["PolicyDocument"]), resource["Type"] != "AWS::EC2::VPCEndpoint"


def main(folder):
    judged = refused = 0
    for path in sorted(pathlib.Path(folder).rglob("template.cfn.yaml")):
        for name, document, grants in Template(path).policies():
            judged += 1
            found = parliament.analyze_policy_string(json.dumps(document)).findings
            bad = [one for one in found if one.issue not in EXPECTED]
            refused += bool(bad)
            label = f"{path.parent.relative_to(folder)} {name}"
            print(f"{'refused' if bad else 'accepted'} {label}" + "".join(f"\n    {one}" for one in bad))
            for statement in document["Statement"] if grants else []:
                wide = statement.get("Effect") == "Allow" and "*" in (statement.get("Action"), *as_list(statement.get("Action")))
                if wide or "*:*" in as_list(statement.get("Action")):
                    refused += 1
                    print(f"refused {label}: allows every action")
    print(f"{judged} policies judged, {refused} refused")
    return 1 if refused or not judged else 0


def as_list(value):
    return value if isinstance(value, list) else [value]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
