/* Zip archives with tensors. NumPy's .npz: of .npy files, each the tensor of its name; torch's are torch.c's. */
#include <string.h>

#include "sae/file_internal.h"

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

static int add_member(sae_file *f, size_t i, error *err)
{
	archive_member *m = &f->archive->members[i];
	sae_tensor *t = &f->tensors[f->n_tensors];
	char label[FILE_PATH_MAX + 128];
	bool is_number;
	int rc;

	if (!ends_with(m->name, ".npy"))
		return error_set(
		        err, ERR_FORMAT,
		        "'%s' is a zip archive, but neither .npz nor .pt: its member '%.100s' is no .npy "
		        "file, and there is no data.pkl",
		        f->path, m->name);
	t->name = arena_memdupz(&f->mem, m->name, strlen(m->name) - strlen(".npy"));
	if (!t->name)
		return error_nomem(err, "a tensor's name");
	snprintf(label, sizeof(label), "%s, member %.100s", f->path, m->name);
	rc = npy_parse(f, t, &is_number, m, label, err);
	if (rc == 0 && is_number) {
		t->member = (uint32_t)i + 1;
		f->n_tensors++;
	}
	return rc;
}

/* The member ROOT/data.pkl of what torch.save wrote, in its one folder, or data.pkl; NULL: there is none. */
static const archive_member *find_pickle(const archive *a)
{
	for (size_t i = 0; i < a->n; i++) {
		const char *slash = strchr(a->members[i].name, '/');

		if (strcmp(slash ? slash + 1 : a->members[i].name, "data.pkl") == 0)
			return &a->members[i];
	}
	return NULL;
}

int file_parse_zip(sae_file *f, error *err)
{
	int rc = archive_open(&f->archive, f->fd, f->size, f->path, &f->mem, err);
	const archive_member *m = rc == 0 ? find_pickle(f->archive) : NULL;

	f->format = m ? "pt" : "npz";
	if (rc < 0 || m)
		return rc < 0 ? rc : file_parse_torch(f, m, err);
	f->tensors = arena_alloc(&f->mem, f->archive->n + 1, sizeof(*f->tensors));
	if (!f->tensors)
		return error_nomem(err, "a list of tensors");
	for (size_t i = 0; i < f->archive->n && rc == 0; i++)
		rc = add_member(f, i, err);
	return rc;
}
