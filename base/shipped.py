"""The modules of the template that register components: one of a user's own file goes before one of these."""

SHIPPED = frozenset(
    {
        *("data_loader.batch_transforms", "data_loader.digits", "data_loader.image_folder", "data_loader.synthetic"),
        *("data_loader.tabular", "data_loader.torchvision_sets"),
        *("model.airbench", "model.lenet", "model.linear", "model.loss", "model.metric", "model.mlp", "model.resnet"),
        *("trainer.loggers", "trainer.lr_lambdas", "trainer.trainer"),
    }
)
