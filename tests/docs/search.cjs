// Asks the search of the built documentation, as the page does: `node search.cjs SITE QUERY...` prints the pages in their order.
const fs = require("node:fs")
const path = require("node:path")

const [site, ...queries] = process.argv.slice(2)
const folder = path.join(site, "assets/javascripts/workers")
const worker = fs.readdirSync(folder).find((name) => /^search\..*\.js$/.test(name))

const answers = []
let listen
globalThis.self = globalThis
globalThis.location = { href: "http://localhost/" }
globalThis.addEventListener = (_, listener) => (listen = listener)
globalThis.postMessage = (message) => answers.push(message)
require(path.resolve(folder, worker))

async function main() {
  const index = JSON.parse(fs.readFileSync(path.join(site, "search/search_index.json"), "utf-8"))
  await listen({ data: { type: 0, data: { ...index, options: {} } } })
  const found = {}
  for (const query of queries) {
    answers.length = 0
    await listen({ data: { type: 2, data: query } })
    found[query] = answers[0].data.items.map((page) => page[0].location)
  }
  process.stdout.write(JSON.stringify(found))
}

main()
