import react from '@vitejs/plugin-react'
import {defineConfig} from 'vitest/config'

export default defineConfig({
  // Relative, so that the built files work below any path.
  base: './',
  plugins: [react()],
  // The client is linked from its folder, where it has a React of its own for its tests.
  resolve: {dedupe: ['react', 'react-dom']},
  // The page's content security policy allows neither inline scripts nor data: URLs.
  build: {assetsInlineLimit: 0, modulePreload: {polyfill: false}},
  // Only for work on the page: it is to be served from the API's own origin.
  server: {port: 5173, proxy: {'/v1': 'http://127.0.0.1:8950'}},
  test: {environment: 'happy-dom', include: ['tests/**/*.test.{ts,tsx}'], restoreMocks: true, unstubGlobals: true},
})
