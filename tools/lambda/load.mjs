// Takes the inline code of a function out of a CloudFormation template and evaluates it as the Node.js runtime
// of AWS Lambda would. The template is the only copy of the code: what is tested here is what is deployed.
//
// It resolves the intrinsic functions that templates in components/ use around code and environment variables,
// and deliberately no more: one that it does not know is an error, never a guess.

import { readFileSync } from 'node:fs';
import { createRequire, isBuiltin } from 'node:module';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';

const PSEUDO = {
  'AWS::AccountId': '111122223333',
  'AWS::Partition': 'aws',
  'AWS::Region': 'us-east-1',
  'AWS::StackId': 'arn:aws:cloudformation:us-east-1:111122223333:stack/test/00000000-0000-0000-0000-000000000000',
  'AWS::StackName': 'test',
  'AWS::URLSuffix': 'amazonaws.com',
};
const NO_VALUE = Symbol('AWS::NoValue');

/** `file` may be a path or a file: URL, such as `new URL('../../components/x/y.cfn.yaml', import.meta.url)`. */
export function templateOf(file) {
  const path = file instanceof URL || String(file).startsWith('file:') ? fileURLToPath(file) : file;
  const YAML = yaml();
  return YAML.parse(readFileSync(path, 'utf8'), { customTags: tags(YAML) });
}

/**
 * The function's handler. `config` are values for the template's parameters, and for what `!Ref` and `!GetAtt`
 * of resources give (`Topic`, `Table.Arn`); `modules` are stand-ins for what the code requires, by name;
 * `globals` are stand-ins for what it finds without requiring, such as `fetch`.
 */
export function handlerOf(file, logicalId, { config = {}, modules = {}, globals = {} } = {}) {
  const { code, environment, exported } = functionOf(file, logicalId, config);
  const module = { exports: {} };
  const names = ['exports', 'require', 'module', 'process', ...Object.keys(globals)];
  const surroundings = { ...process, env: { AWS_REGION: 'us-east-1', ...environment } };
  const evaluate = vm.compileFunction(code, names, { filename: `${basename(String(file))}#${logicalId}` });
  evaluate(module.exports, requireOf(modules), module, surroundings, ...Object.values(globals));
  const handler = module.exports[exported];
  if (typeof handler !== 'function') throw new Error(`${logicalId} exports no function \`${exported}\``);
  return handler;
}

/** The function's code and environment variables with every intrinsic function resolved. */
export function functionOf(file, logicalId, config = {}) {
  const template = templateOf(file);
  const resource = template.Resources[logicalId];
  if (resource?.Type !== 'AWS::Lambda::Function') throw new Error(`${logicalId} is no function`);
  const { Code, Environment, Handler } = resource.Properties;
  const resolve = resolver(template, config);
  const code = resolve(Code.ZipFile);
  if (typeof code !== 'string') throw new Error(`${logicalId} has no inline code`);
  const environment = {};
  for (const [name, value] of Object.entries(resolve(Environment?.Variables ?? {}))) environment[name] = String(value);
  const [file_, exported] = Handler.split('.');
  // Lambda writes inline code to index.js, whatever the handler says.
  if (file_ !== 'index') throw new Error(`inline code is index.js, but the handler is ${Handler}`);
  return { code, environment, exported };
}

/** A function that resolves the intrinsic functions in a value of the template. */
export function resolver(template, config = {}) {
  const declared = template.Parameters ?? {};
  const reference = (name) => {
    if (name === 'AWS::NoValue') return NO_VALUE;
    if (Object.hasOwn(config, name)) return config[name];
    if (Object.hasOwn(PSEUDO, name)) return PSEUDO[name];
    if (Object.hasOwn(declared, name)) {
      if (declared[name].Default === undefined) throw new Error(`the parameter ${name} needs a value`);
      return listed(declared[name], declared[name].Default);
    }
    if (Object.hasOwn(template.Resources, name)) return name;
    throw new Error(`nothing is called ${name}`);
  };
  const condition = (value) => {
    if (typeof value === 'string') return condition(template.Conditions[value]);
    const [[name, argument]] = Object.entries(value);
    switch (name) {
      case 'Condition': return condition(argument);
      case 'Fn::Equals': return String(resolve(argument[0])) === String(resolve(argument[1]));
      case 'Fn::Not': return !condition(argument[0]);
      case 'Fn::And': return argument.every(condition);
      case 'Fn::Or': return argument.some(condition);
      default: throw new Error(`${name} is no condition`);
    }
  };
  const functions = {
    Ref: reference,
    'Fn::GetAtt': (path) => attribute(config, Array.isArray(path) ? path.join('.') : path),
    'Fn::If': ([name, yes, no]) => resolve(condition(name) ? yes : no),
    'Fn::Join': ([between, parts]) => resolve(parts).map(String).join(between),
    'Fn::Select': ([index, parts]) => resolve(parts)[Number(resolve(index))],
    'Fn::Split': ([between, text]) => resolve(text).split(between),
    'Fn::Sub': (argument) => {
      const [text, own] = Array.isArray(argument) ? argument : [argument, {}];
      return text.replace(/\$\{(!?)([^}]*)\}/g, (whole, literal, name) => {
        if (literal) return `\${${name}}`;
        if (Object.hasOwn(own, name)) return String(resolve(own[name]));
        return String(name.includes('.') ? attribute(config, name) : reference(name));
      });
    },
  };
  function resolve(value) {
    if (Array.isArray(value)) return value.map(resolve).filter((item) => item !== NO_VALUE);
    if (value === null || typeof value !== 'object') return value;
    const entries = Object.entries(value);
    if (entries.length === 1) {
      const [name, argument] = entries[0];
      if (Object.hasOwn(functions, name)) return functions[name](argument);
      if (name.startsWith('Fn::')) throw new Error(`the test loader does not know ${name}`);
    }
    return Object.fromEntries(
      entries.map(([name, item]) => [name, resolve(item)]).filter(([, item]) => item !== NO_VALUE),
    );
  }
  return resolve;
}

/** What an attribute of a resource gives: told by the test, or a text that is easy to recognise. */
function attribute(config, path) {
  return Object.hasOwn(config, path) ? config[path] : path;
}

function listed(parameter, value) {
  return /List/.test(parameter.Type) && typeof value === 'string' ? value.split(',') : value;
}

/** The runtime's `require`: Node's own modules, and stand-ins for what only AWS Lambda has. */
function requireOf(modules) {
  const real = createRequire(import.meta.url);
  return (name) => {
    for (const known of [name, name.replace(/^node:/, ''), `node:${name}`]) {
      if (Object.hasOwn(modules, known)) return modules[known];
    }
    if (isBuiltin(name)) return real(name);
    throw new Error(`inline code has no packages, and the test has no stand-in for ${name}`);
  };
}

/** CloudFormation's short forms, such as `!Sub`, as their long forms. */
function tags(YAML) {
  const long = (name) => (name === 'Ref' || name === 'Condition' ? name : `Fn::${name}`);
  const names = ['And', 'Base64', 'Cidr', 'Condition', 'Equals', 'FindInMap', 'GetAZs', 'GetAtt', 'If', 'ImportValue',
    'Join', 'Not', 'Or', 'Ref', 'Select', 'Split', 'Sub'];
  const plain = (node) => {
    if (YAML.isMap(node)) {
      return Object.fromEntries(node.items.map(({ key, value }) => [String(plain(key)), plain(value)]));
    }
    if (YAML.isSeq(node)) return node.items.map(plain);
    // A nested short form has been turned into its long form already.
    return YAML.isScalar(node) ? node.value : node;
  };
  return names.flatMap((name) => [
    { tag: `!${name}`, resolve: (text) => ({ [long(name)]: text }) },
    { tag: `!${name}`, collection: 'seq', resolve: (node) => ({ [long(name)]: plain(node) }) },
    { tag: `!${name}`, collection: 'map', resolve: (node) => ({ [long(name)]: plain(node) }) },
  ]);
}

/** The YAML parser that comes with the Backstage packages: the tests need no packages of their own. */
function yaml() {
  for (const folder of ['../../.tools/backstage/', '../backstage/']) {
    try {
      return createRequire(new URL(folder, import.meta.url))('yaml');
    } catch (error) {
      if (error.code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  throw new Error('the package `yaml` is missing: run `npm ci` in tools/backstage');
}
