// Claims of the tabs: what one of them has taken on, for the others to leave.
//
// In IndexedDB, whose transactions are one after the other in all tabs. What a
// tab writes to local storage another may see only later.

/** @param {IDBOpenDBRequest | IDBRequest} request @returns {Promise<any>} */
const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

/** @type {Promise<IDBDatabase> | null} */
let opened = null;

function database() {
  const request = indexedDB.open('watchtower', 1);
  request.onupgradeneeded = () => request.result.createObjectStore('claims', { keyPath: 'key' }).createIndex('at', 'at');
  return done(request);
}

/**
 * Claims something: true in one tab alone. Without a database, true in each.
 * @template T
 * @param {string} key
 * @param {(before: T | undefined) => T | null} decide Gets the claim before; null leaves it.
 * @param {number} most Claims that are kept, the newest.
 */
export async function claim(key, decide, most) {
  try {
    opened ??= database();
    const store = (await opened).transaction('claims', 'readwrite').objectStore('claims');
    const value = decide(await done(store.get(key)));
    if (!value) return false;
    await done(store.put({ ...value, key, at: Date.now() }));
    const excess = await done(store.count()) - most;
    if (excess > 0) for (const oldest of await done(store.index('at').getAllKeys(null, excess))) store.delete(oldest);
    return true;
  } catch {
    opened = null;
    return decide(undefined) !== null;
  }
}
