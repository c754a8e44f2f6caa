// The score tables: one data set's at a time, sorted by a click on a heading; what is missing goes last.

{
  const sections = $$("#tables .dataset");
  on("dataset", () => sections.forEach((section, i) => (section.hidden = i !== state.dataset)));

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return column === 0 ? cell.textContent : cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };

  function sort(table, column, direction) {
    const sign = direction === "ascending" ? 1 : -1;
    const compare = (x, y) => {
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (typeof x === "string" ? x.localeCompare(y, undefined, { numeric: true }) : x - y);
    };
    const rows = [...table.tBodies[0].rows];
    rows.sort((p, q) => compare(valueOf(p, column), valueOf(q, column)));
    table.tBodies[0].append(...rows);
    $$("thead th", table).forEach((head, i) =>
      i === column ? head.setAttribute("aria-sort", direction) : head.removeAttribute("aria-sort"),
    );
  }

  for (const table of $$("table.scores")) {
    table.tHead.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const head = button.closest("th");
      const other = { ascending: "descending", descending: "ascending" };
      sort(table, head.cellIndex, other[head.getAttribute("aria-sort")] ?? (button.dataset.first || "ascending"));
    });
    // The charts' colours, so that the table is their key.
    [...table.tBodies[0].rows].forEach((row, i) =>
      row.cells[0].prepend(element("i", { class: "swatch", style: colour(i) })),
    );
  }
}
