// Judges the entities in a multi-document YAML file by Backstage's own catalog model.
// Prints one line for each entity; exits with 1 when any is refused.
import { readFileSync } from 'node:fs';
import * as model from '@backstage/catalog-model';
import { parseAllDocuments } from 'yaml';

const policy = model.EntityPolicies.allOf([
  new model.SchemaValidEntityPolicy(),
  new model.DefaultNamespaceEntityPolicy(),
  new model.FieldFormatEntityPolicy(),
  new model.NoForeignRootFieldsEntityPolicy(),
]);
const validators = {
  component: model.componentEntityV1alpha1Validator,
  resource: model.resourceEntityV1alpha1Validator,
  system: model.systemEntityV1alpha1Validator,
};

let refused = 0;
for (const document of parseAllDocuments(readFileSync(process.argv[2], 'utf8'))) {
  const entity = document.toJS();
  if (!entity) continue;
  try {
    await policy.enforce(entity);
    const known = await validators[entity.kind.toLowerCase()].check(entity);
    if (!known) throw new Error(`not a ${entity.kind} of ${entity.apiVersion}`);
    console.log(`accepted ${model.stringifyEntityRef(entity)}`);
  } catch (error) {
    refused += 1;
    console.log(`refused ${entity?.kind}:${entity?.metadata?.name}: ${error.message}`);
  }
}
process.exit(refused === 0 ? 0 : 1);
