// What every demo page shares: the browser frame, the clock, the pointer, parts
// that come in over time, and charts. Everything that moves is a function of the
// time given to seek(), so a recording comes out the same every time. A page
// opened by hand plays by itself.

const demo = (() => {
  const TABS = [
    ["health", "Platform health", "#2f9e57"],
    ["siem", "Nightjar SIEM", "#3f7fd6"],
    ["metrics", "Dialboard", "#e8742c"],
    ["cloud", "Altocloud console", "#c79413"],
    ["gateway", "Lyrebird LLM gateway", "#8a5cd6"],
    ["wiki", "Team wiki", "#2b8fa3"],
    ["workloads", "Deckhand", "#4c63d9"],
  ];
  const DAY_START = 14 * 3600 + 2 * 60; // the clip starts at 14:02:00
  const painters = [];
  let playing = true;

  const whole = (t) => Math.floor(t + 1e-6);

  function clockText(clip) {
    const s = DAY_START + whole(clip);
    return [s / 3600, (s / 60) % 60, s % 60].map((n) => String(Math.floor(n)).padStart(2, "0")).join(":");
  }

  function addBrowser() {
    const { tab, url } = document.body.dataset;
    if (!tab) return;
    const tabs = TABS.map(([id, title, colour]) =>
      `<div class="tab ${id === tab ? "open" : ""}"><i style="background:${colour}"></i>${title}</div>`);
    document.body.insertAdjacentHTML("afterbegin", `<div class="browser">
      <div class="tabs">${tabs.join("")}</div>
      <div class="address">
        <svg width="84" height="20" fill="none" stroke="#5a6675" stroke-width="2.2">
          <path d="M12 4 5 10l7 6M5 10h13M44 4l7 6-7 6M51 10H38M79 7a7 7 0 1 0 1 5M80 2v6h-6"/></svg>
        <span>${url}</span>
      </div></div>`);
  }

  function addPointer() {
    document.body.insertAdjacentHTML("beforeend", `<svg id="pointer" width="26" height="34">
      <path d="M2 2v24l6-5 4 10 5-2-4-10h8z" fill="#111" stroke="#fff" stroke-width="2"/></svg>`);
  }

  // data-pointer="seconds,x,y seconds,x,y ...": where the pointer has come to by
  // each time. A move takes the half second before it.
  function pointerAt(t) {
    const stops = (document.body.dataset.pointer || "0,1500,700").split(" ").map((s) => s.split(",").map(Number));
    let [, x, y] = stops[0];
    for (const [at, toX, toY] of stops.slice(1)) {
      const part = Math.min(1, Math.max(0, (t - at + 0.5) / 0.5));
      const eased = part * part * (3 - 2 * part);
      x += (toX - x) * eased;
      y += (toY - y) * eased;
    }
    return [Math.round(x), Math.round(y)];
  }

  // Shows the page as it is `t` seconds into its scene and `clip` seconds into
  // the clip. Answers a key that is the same for two moments that look the same.
  function seek(t, clip = t) {
    playing = false;
    return draw(t, clip);
  }

  function draw(t, clip) {
    let shown = 0;
    for (const el of document.querySelectorAll("[data-at]")) {
      const on = t + 1e-6 >= Number(el.dataset.at);
      el.classList.toggle("later", !on);
      shown += on;
    }
    for (const el of document.querySelectorAll(".clock")) el.textContent = clockText(clip);
    for (const el of document.querySelectorAll(".caret")) el.style.opacity = whole(clip * 2) % 2 ? 0 : 1;
    for (const paint of painters) paint(whole(t));
    const [x, y] = pointerAt(t);
    const pointer = document.getElementById("pointer");
    if (pointer) pointer.style.transform = `translate(${x}px, ${y}px)`;
    return [whole(clip * 2), shown, x, y].join();
  }

  // Whether the text is on the page now.
  function shows(text) {
    const flat = (s) => s.replace(/\s+/g, " ");
    return flat(document.body.innerText).includes(flat(text));
  }

  // A steady stand-in for randomness, 0 to 1.
  function noise(i, seed = 1) {
    const v = Math.sin(i * 12.9898 + seed * 78.233) * 43758.5453;
    return v - Math.floor(v);
  }

  // Draws lines, or bars, into an <svg class="chart" height=..>; one more point a second.
  // opts: points, top, unit, marks (labels under the graph), limit, bars (their width),
  // series: [{colour, value(i) -> number}]
  function chart(id, opts) {
    const svg = document.getElementById(id);
    const width = svg.clientWidth, height = svg.height.baseVal.value;
    const left = 64, right = width - 8, top = 8, bottom = height - 26;
    const x = (i) => left + ((right - left) * i) / (opts.points - 1);
    const y = (v) => bottom - ((bottom - top) * v) / opts.top;
    let frame = "";
    for (let k = 0; k <= 4; k++) {
      const v = (opts.top * k) / 4;
      frame += `<path class="grid" d="M${left} ${Math.round(y(v)) + 0.5}H${right}"/>
        <text x="${left - 8}" y="${y(v) + 5}" text-anchor="end">${v}${opts.unit}</text>`;
    }
    opts.marks.forEach((mark, k) => {
      const last = opts.marks.length - 1;
      const anchor = k === 0 ? "start" : k === last ? "end" : "middle";
      frame += `<text x="${left + ((right - left) * k) / last}" y="${height - 6}" text-anchor="${anchor}">${mark}</text>`;
    });
    if (opts.limit) frame += `<path d="M${left} ${y(opts.limit)}H${right}" stroke="var(--red)" stroke-dasharray="8 6" stroke-width="2"/>`;
    painters.push((second) => {
      const count = Math.min(opts.points, opts.points - 10 + second);
      const ids = Array.from({ length: count }, (_, i) => i);
      const drawn = opts.series.map(({ colour, value }) => opts.bars
        ? ids.map((i) => `<rect x="${(x(i) - opts.bars / 2).toFixed(1)}" width="${opts.bars}" y="${y(value(i))}" height="${bottom - y(value(i))}" fill="${colour}"/>`).join("")
        : `<path fill="none" stroke="${colour}" stroke-width="2.5" d="M${ids.map((i) => `${x(i).toFixed(1)} ${y(value(i)).toFixed(1)}`).join("L")}"/>`);
      svg.innerHTML = frame + drawn.join("");
    });
  }

  addEventListener("DOMContentLoaded", () => {
    addBrowser();
    addPointer();
    const started = performance.now();
    const play = () => {
      if (!playing) return;
      draw(((performance.now() - started) / 1000) % 12, 0);
      requestAnimationFrame(play);
    };
    play();
  });

  return { seek, shows, noise, chart };
})();
