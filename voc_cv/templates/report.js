'use strict';

// A click on a column's name sorts its table: numbers with the largest first, then the other way round.
const said = document.getElementById('said');
for (const button of document.querySelectorAll('th button')) {
  button.addEventListener('click', () => {
    const head = button.closest('th'), body = head.closest('table').tBodies[0];
    const numeric = head.classList.contains('number');
    const first = numeric ? 'descending' : 'ascending';
    const other = numeric ? 'ascending' : 'descending';
    const way = head.getAttribute('aria-sort') === first ? other : first;
    for (const th of head.parentElement.children) th.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', way);
    const sign = way === 'ascending' ? 1 : -1;
    const value = row => row.children[head.cellIndex].dataset.sort;
    const rows = [...body.rows].sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === '' || y === '') return (x === '') - (y === '');  // what is missing comes last
      return sign * (numeric ? x - y : x.localeCompare(y));
    });
    body.append(...rows);
    said.textContent = `sorted by ${button.textContent}, ${way}`;
  });
}

// A click on a picture shows it larger; Escape closes, the arrow keys go on, the focus returns.
const view = document.getElementById('view');
const [back, next, close] = ['back', 'next', 'close'].map(id => document.getElementById(id));
let row = [], at = 0;
function show(i) {
  at = i;
  const button = row[at];
  document.getElementById('view-title').textContent = button.dataset.title;
  const panels = button.querySelector('.panels').cloneNode(true);
  for (const img of panels.querySelectorAll('img')) img.removeAttribute('loading');
  document.getElementById('view-panels').replaceChildren(panels);
  back.disabled = at === 0;
  next.disabled = at === row.length - 1;
  view.scrollTop = 0;
}
for (const button of document.querySelectorAll('.enlarge')) {
  button.addEventListener('click', () => {
    const among = button.closest('.shots, section');
    row = [...among.querySelectorAll('.enlarge')].filter(b => b.closest('.shots, section') === among);
    view.showModal();
    show(row.indexOf(button));
    close.focus();
  });
}
function step(by) {
  if (row[at + by]) show(at + by);
  if (document.activeElement?.disabled || document.activeElement === document.body) close.focus();
}
back.addEventListener('click', () => step(-1));
next.addEventListener('click', () => step(1));
close.addEventListener('click', () => view.close());
view.addEventListener('click', event => { if (event.target === view) view.close(); });
view.addEventListener('keydown', event => {
  if (event.key === 'ArrowLeft') step(-1);
  if (event.key === 'ArrowRight') step(1);
});
view.addEventListener('close', () => {
  document.getElementById('view-panels').replaceChildren();
  row[at].focus();
});

// On paper all that is folded is unfolded.
let folded = [];
addEventListener('beforeprint', () => {
  folded = [...document.querySelectorAll('details:not([open])')];
  for (const d of folded) d.open = true;
});
addEventListener('afterprint', () => { for (const d of folded) d.open = false; });
