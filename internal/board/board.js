// Keeps the page as the class is: the server sends the whole of it anew, and what is
// another is put in. Without it the page is complete, and stands still.
'use strict';
{
  const words = document.body.dataset;
  const parts = (from) => new Map([...from.querySelectorAll('[data-part]')].map((e) => [e.dataset.part, e]));

  // The parts as the server sent them: the page's own have other times by now.
  const source = (from) => new Map([...parts(from)].map(([name, e]) => [name, e.outerHTML]));
  let known = source(document);

  const show = (html) => {
    const sent = new DOMParser().parseFromString(html, 'text/html');
    const next = source(sent);
    const news = parts(sent);
    const here = parts(document);
    if ([...news.keys()].join() !== [...here.keys()].join()) {
      document.querySelector('main').replaceChildren(...sent.body.childNodes);
    } else {
      for (const [name, e] of news) {
        if (next.get(name) !== known.get(name)) put(here.get(name), e);
      }
    }
    known = next;
    tell();
  };

  // put keeps open what somebody reads, and the keyboard's place.
  const put = (old, e) => {
    const before = old.querySelector('details');
    const after = e.querySelector('details');
    if (before && after && before.dataset.check === after.dataset.check) after.open = before.open;
    const focused = old.contains(document.activeElement);
    old.replaceWith(e);
    if (focused) e.querySelector('summary')?.focus({ preventScroll: true });
  };

  // tell says how long ago times are, as words.go does.
  const tell = () => {
    for (const e of document.querySelectorAll('time[datetime]')) {
      const minutes = Math.max(0, Math.floor((Date.now() - Date.parse(e.dateTime)) / 60000));
      let said = words.moments;
      if (minutes >= 60) said = words.hours.replace('{h}', Math.floor(minutes / 60));
      else if (minutes >= 1) said = words.minutes.replace('{m}', minutes);
      if (e.textContent !== said) e.textContent = said;
    }
  };
  setInterval(tell, 5000);

  const lost = document.getElementById('lost');
  const disconnected = () => {
    if (!lost.hidden) return; // since when stays
    lost.textContent = words.lost.replace('{time}', new Date().toLocaleTimeString(words.lang === 'ja' ? 'ja-JP' : 'en-GB'));
    lost.hidden = false;
    document.body.classList.add('stale');
  };
  const connected = () => {
    lost.hidden = true;
    lost.textContent = '';
    document.body.classList.remove('stale');
  };

  const listen = () => {
    const events = new EventSource('/events?lang=' + words.lang);
    events.onmessage = (event) => {
      connected();
      show(event.data);
    };
    events.onerror = () => {
      disconnected();
      // Browsers try again where a connection broke, and give up where another answer came.
      if (events.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
    };
  };
  listen();
}
