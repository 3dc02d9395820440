(function () {
  "use strict";
  const content = JSON.parse(document.querySelector("script[type='application/json']").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const config = { responsive: true, displayModeBar: false };

  function draw(index, isDark) {
    const figure = content.figures[index];
    const template = isDark ? content.dark : content.light;
    const layout = Object.assign({}, figure.layout, { template: template, paper_bgcolor: "rgba(0,0,0,0)" });
    return Plotly.react("figure-" + index, figure.data, layout, config);
  }
  function drawAll(isDark) {
    for (let index = 0; index < content.figures.length; index += 1) draw(index, isDark);
  }
  function drawNext(index) {
    if (index >= content.figures.length) return;
    draw(index, dark.matches);
    window.setTimeout(drawNext, 0, index + 1);
  }
  drawNext(0);
  dark.addEventListener("change", function () { drawAll(dark.matches); });
  window.addEventListener("beforeprint", function () { drawAll(false); });
  window.addEventListener("afterprint", function () { drawAll(dark.matches); });
})();
