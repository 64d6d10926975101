// Chats that are kept in this browser: a database, for pictures are too large for its simple storage.

const STORE = "chats";

function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("monocle", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function with_store(mode, work) {
  const database = await open();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const request = work(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

/** All chats, the last changed first. */
export async function all() {
  const chats = await with_store("readonly", (store) => store.getAll());
  return chats.sort((a, b) => b.changed - a.changed);
}

/** Keeps a chat: {id, title, changed, messages}. */
export function keep(chat) {
  return with_store("readwrite", (store) => store.put(chat));
}

/** Forgets one. */
export function forget(id) {
  return with_store("readwrite", (store) => store.delete(id));
}

/** A new one. */
export function fresh() {
  return { id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`, title: "New chat", changed: Date.now(), messages: [] };
}
