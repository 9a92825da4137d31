// Service worker: shows the notifications that the server pushes while no page
// is open. It handles no requests of the page.

/** @typedef {{title: string, severity: string, stream: string, incident: string | null}} Pushed */
/** @typedef {{focus: () => Promise<unknown>, postMessage: (message: object) => void}} OpenPage */

const worker = /** @type {any} */ (self);

worker.addEventListener('push', (/** @type {any} */ event) => {
  /** @type {Pushed} */
  const { title, severity, stream, incident } = event.data.json();
  const shown = incident ? `${severity[0].toUpperCase()}${severity.slice(1)}: ${title}` : title;
  event.waitUntil(worker.registration.showNotification(shown, {
    body: stream ? `Stream ${stream}` : 'Watchtower',
    tag: incident ?? 'watchtower',
    renotify: true,
    requireInteraction: severity === 'critical',
    icon: '/page/icon.svg',
    data: { incident },
  }));
});

worker.addEventListener('notificationclick', (/** @type {any} */ event) => {
  event.notification.close();
  event.waitUntil(opened(event.notification.data?.incident ?? ''));
});

/** Shows an incident, in a page that is open if there is one. @param {string} incident */
async function opened(incident) {
  /** @type {OpenPage[]} */
  const pages = await worker.clients.matchAll({ type: 'window', includeUncontrolled: true });
  const [page] = pages;
  if (!page) return worker.clients.openWindow(`/?view=incidents${incident ? `&incident=${incident}` : ''}`);
  page.postMessage({ incident });
  return page.focus();
}
