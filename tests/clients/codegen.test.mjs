// GraphQL Code Generator makes types and a manifest of known documents from schema.graphql; TypeScript accepts the types strictly, and the
// ids in the manifest are the ones that the server computes.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { generate } from '@graphql-codegen/cli';
import ts from 'typescript';

const root = fileURLToPath(new URL('../..', import.meta.url));
const here = fileURLToPath(new URL('.', import.meta.url));

test('types are generated and hold', async () => {
  // Inside this folder, so that the generated code finds its imports.
  const out = mkdtempSync(join(here, 'generated-'));
  try {
    await generate(
      {
        schema: join(root, 'schema.graphql'),
        documents: [join(root, 'crates/inngest-cli/src/client/documents/*.graphql')],
        silent: true,
        generates: {
          [`${out}/`]: {
            preset: 'client',
            presetConfig: { persistedDocuments: { hashAlgorithm: 'sha256' } },
            config: { strictScalars: true, scalars: scalars(), useTypeImports: true },
          },
        },
      },
      true,
    );
    const program = ts.createProgram([join(out, 'graphql.ts'), join(out, 'gql.ts')], {
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      moduleResolution: ts.ModuleResolutionKind.Bundler,
      types: [],
    });
    const problems = ts.getPreEmitDiagnostics(program).map((problem) => ts.flattenDiagnosticMessageText(problem.messageText, '\n'));
    assert.deepEqual(problems, []);

    const manifest = JSON.parse(readFileSync(join(out, 'persisted-documents.json'), 'utf8'));
    assert.ok(Object.keys(manifest).length > 10);
    for (const [id, text] of Object.entries(manifest)) {
      assert.equal(id, createHash('sha256').update(text).digest('hex'));
    }
  } finally {
    rmSync(out, { recursive: true });
  }
});

function scalars() {
  const text = ['CelExpression', 'DateTime', 'DurationString', 'ULID', 'URL', 'UUID'];
  const number = ['Long', 'Milliseconds'];
  return { JSON: 'unknown', ...Object.fromEntries(text.map((name) => [name, 'string'])), ...Object.fromEntries(number.map((name) => [name, 'number'])) };
}
