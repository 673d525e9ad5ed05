# %% [markdown]
# # A study from a notebook
#
# `sts` is the folder with study.yaml, slides.csv and patients.csv. Research use only, not a medical
# device.

# %%
import pathoml as pm

study = pm.open_study("sts")  # study.yaml and both tables; says now what is wrong with them
pm.read_cohort(study)

# %% [markdown]
# Only the steps that are stale are run. The first time that is all of them.

# %%
pm.run(study)
pm.status(study)

# %%
scores = pm.read_scores(study)  # by patient: score_sd, log_risk, time_months, event, centre, ...
scores[["score_sd", "time_months", "event", "centre"]].describe()

# %%
study.metrics.harrell_c  # with its 95 % interval

# %%
study.permutation  # how often chance does as well

# %% [markdown]
# The map of the patient with the highest score: contributions per tile, with what `explain` says of
# their faithfulness. It shows slide and map side by side.

# %%
worst = scores.score_sd.idxmax()
tile_map = pm.read_map(study, worst)
tile_map

# %%
tile_map.tiles.nlargest(5, "contribution")

# %%
viewer = pm.view(study)  # on this machine only; the address holds the key
viewer

# %%
viewer.close()
