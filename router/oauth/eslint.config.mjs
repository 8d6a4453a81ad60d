// Lints of the TypeScript in front of the Worker: all that typescript-eslint has under "strict", with types. Its tests
// are run by Node, and have its types and no others.
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

export default defineConfig({ ignores: ["**/*.mjs", "**/tests/**"] }, tseslint.configs.strictTypeChecked, {
  languageOptions: { parserOptions: { project: "./tsconfig.json", tsconfigRootDir: import.meta.dirname } },
  rules: {
    "max-lines-per-function": ["error", 70],
    // What is left out of an object on purpose.
    "@typescript-eslint/no-unused-vars": ["error", { varsIgnorePattern: "^_", argsIgnorePattern: "^_" }],
  },
});
