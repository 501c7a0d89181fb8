"""Judges what `landfall policy` prints, and the table it is made from.

Every policy goes through parliament. The table (crates/policy/src/actions.json) is held against the `handlers`
of the resource provider schemas that cfn-lint brings along: whatever a handler calls is in the table, or is
said to be left out there. Exits with 1 on a finding that is not expected below.

usage: judge_needs.py ACTIONS FOLDER
"""

import glob
import json
import pathlib
import sys

import cfnlint
import parliament

# Findings that are as they should be, with the reason.
EXPECTED = {
    "RESOURCE_STAR": "looking at what may not be there yet: IAM judges that by a name no ARN fits",
}
EXPECTED_MISMATCHES = {
    "ses:": "parliament knows SES's first API; the second judges identities and configuration sets by their ARNs",
    "route53:ChangeTagsForResource": "judged for a zone or for a health check, never for both",
}
# What handlers call of tags is listed apart from the handlers themselves.
VERBS = ("create", "read", "update", "delete")


def schemas():
    folder = pathlib.Path(cfnlint.__file__).parent / "data" / "schemas" / "resources"
    found = {}
    for path in glob.glob(str(folder / "*.json")):
        schema = json.loads(pathlib.Path(path).read_text())
        found.setdefault(schema["typeName"], schema)
    return found


def known_actions():
    definition = {}
    for service in parliament.iam_definition:
        names = {privilege["privilege"].lower() for privilege in service["privileges"]}
        definition.setdefault(service["prefix"].lower(), set()).update(names)
    return definition


def is_known(action, definition):
    service, name = action.lower().split(":", 1)
    return name in definition.get(service, ())


def judge_table(path, all_schemas, definition):
    table = json.loads(path.read_text())
    bad = []
    for kind, facts in table.items():
        schema = all_schemas.get(kind)
        handlers = (schema or {}).get("handlers") or {}
        left_out = {action.lower() for action in facts.get("leftOut", ())}
        for verb in VERBS:
            listed = {action.lower() for grant in facts["grants"] for action in grant.get(verb, ())}
            called = {action.lower() for action in handlers.get(verb, {}).get("permissions", ())}
            # Roles that are passed on or made along stand apart; what IAM has never heard of allows nothing.
            called = {
                action for action in called
                if action not in ("iam:passrole", "iam:createservicelinkedrole") and is_known(action, definition)
            }
            missing = called - listed - left_out
            bad += [f"{kind}: {verb} calls {action}, which is not in the table" for action in sorted(missing)]
    return len(table), bad


def judge_policies(folder, all_schemas, definition):
    newer = {
        action.lower()
        for schema in all_schemas.values()
        for handler in (schema.get("handlers") or {}).values()
        for action in handler.get("permissions", ())
    }
    judged, bad = 0, []
    for path in sorted(pathlib.Path(folder).rglob("policy-*.json")):
        judged += 1
        for finding in parliament.analyze_policy_string(path.read_text()).findings:
            detail = str(finding.detail)
            if finding.issue in EXPECTED:
                continue
            if finding.issue == "RESOURCE_MISMATCH" and any(f"'action': '{one}" in detail for one in EXPECTED_MISMATCHES):
                continue
            # An action that is newer than parliament's list, and that AWS's own schema names.
            if finding.issue == "UNKNOWN_ACTION" and detail.split()[-1].lower() in newer:
                continue
            bad.append(f"{path.name} in {path.parent.name}: {finding}")
    return judged, bad


def main(actions, folder):
    all_schemas, definition = schemas(), known_actions()
    types, bad = judge_table(pathlib.Path(actions), all_schemas, definition)
    judged, refused = judge_policies(folder, all_schemas, definition)
    for one in bad + refused:
        print(one)
    print(f"{types} types and {judged} policies judged, {len(bad) + len(refused)} findings")
    return 1 if bad or refused or not types or not judged else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
