// What the functions of a test app did, in order, for a test to ask about.
const entries = [];

/** Adds one entry; `marker` names the test that will ask for it. */
export function write(entry) {
  entries.push({ ...entry, at: Date.now() });
}

/** The entries of one test, oldest first. */
export function read(marker) {
  return entries.filter((entry) => entry.marker === marker);
}
